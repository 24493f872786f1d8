//! What `sky status -o json` says of clusters.

use super::super::fields::{second, shown};
use super::super::json::Json;
use super::super::{DangerClock, MachineState};
use super::ports;
use crate::location::{PlatformKind, PlatformMachine};

/// Machines of a cluster; what names more is not believed.
const MACHINES_MAX: u64 = 512;

/// Lines before the answer that may look like its beginning.
const BEGINNINGS_MAX: usize = 16;

/// One cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) state: MachineState,
    /// In its words.
    pub(super) status: String,
    pub(super) cloud: Option<String>,
    pub(super) name_on_cloud: Option<String>,
    /// How many it has; the first is its head.
    pub(super) machines: u64,
    pub(super) started: Option<i64>,
    pub(super) clocks: Vec<DangerClock>,
    /// Ports that it asked to be opened.
    pub(super) ports: Vec<u16>,
}

impl Cluster {
    pub(super) fn is_on(&self, cloud: &str) -> bool {
        self.cloud.as_deref().is_some_and(|its| its.eq_ignore_ascii_case(cloud))
    }
}

/// Reads the answer; lines that the program prints before it are not part of it.
///
/// # Errors
/// Where it is no list of clusters; the text is for a person.
pub(super) fn read(said: &[u8]) -> Result<Vec<Cluster>, String> {
    let list = list(said)?;
    let mut clusters = Vec::new();
    for record in list.list().unwrap_or_default() {
        let cluster = cluster(record)?;
        if clusters.iter().any(|known: &Cluster| known.name == cluster.name) {
            return Err(format!("{} stands twice in the list", cluster.name));
        }
        clusters.push(cluster);
    }
    Ok(clusters)
}

/// The list that the text ends with.
fn list(said: &[u8]) -> Result<Json, String> {
    let starts = (0..said.len()).filter(|&at| at == 0 || said[at - 1] == b'\n');
    let mut why = "it holds no list".to_owned();
    for at in starts.filter(|&at| said[at] == b'[').take(BEGINNINGS_MAX) {
        match Json::parse(&said[at..]) {
            Ok(list) => return Ok(list),
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn cluster(record: &Json) -> Result<Cluster, String> {
    let named = record.get("name").ok_or("a cluster has no name")?;
    let name =
        named.text().filter(|name| PlatformMachine::checked(PlatformKind::Sky, name).is_some());
    let name = name.ok_or_else(|| format!("the name {} is none", shown(named)))?.to_owned();
    let of_it = |what: String| format!("{name}: {what}");
    if record.get("handle").is_some() {
        let what = "it carries a pickled handle, which is a program to be run and no answer";
        return Err(of_it(what.to_owned()));
    }
    let text = |field| record.get(field).and_then(Json::text).map(str::trim);
    let word = text("status").unwrap_or_default();
    let cloud = text("cloud").filter(|cloud| !cloud.is_empty()).map(str::to_owned);
    let ports = ports::asked_for(record).map_err(of_it)?;
    let places = [cloud.as_deref(), text("region")].into_iter().flatten().collect::<Vec<_>>();
    Ok(Cluster {
        state: state(word),
        status: [word, &places.join(" ")].join(" ").trim().to_owned(),
        name_on_cloud: text("cluster_name_on_cloud").filter(|n| !n.is_empty()).map(str::to_owned),
        machines: machines(record),
        started: second(record.get("launched_at")),
        clocks: clock(record).into_iter().collect(),
        cloud,
        ports,
        name,
    })
}

fn state(word: &str) -> MachineState {
    match word {
        "UP" => MachineState::Running,
        "STOPPED" => MachineState::Stopped,
        "INIT" => MachineState::Starting,
        _ => MachineState::Unknown,
    }
}

fn machines(record: &Json) -> u64 {
    match record.get("nodes") {
        Some(Json::Whole(count)) => u64::try_from(*count).unwrap_or(1).clamp(1, MACHINES_MAX),
        _ => 1,
    }
}

/// Less than no minutes is how it says that nothing ends it.
fn clock(record: &Json) -> Option<DangerClock> {
    let Some(Json::Whole(minutes)) = record.get("autostop") else { return None };
    let minutes = u32::try_from(*minutes).ok()?;
    let destroys = record.get("to_down") == Some(&Json::Bool(true));
    Some(DangerClock::IdleEnds { minutes, destroys })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(fields: &str) -> Result<Cluster, String> {
        read(format!("[{{\"name\":\"train\",\"status\":\"UP\"{fields}}}]").as_bytes())
            .map(|mut clusters| clusters.remove(0))
    }

    #[test]
    fn a_cluster_is_read_as_it_is_told() {
        let cluster = one(r#","cloud":"AWS","region":"us-east-1","nodes":2,"autostop":30,
            "to_down":true,"cluster_name_on_cloud":"train-1a2b","launched_at":1786000000"#)
        .unwrap();
        assert_eq!(cluster.status, "UP AWS us-east-1");
        assert_eq!((cluster.state, cluster.machines), (MachineState::Running, 2));
        assert_eq!(cluster.name_on_cloud.as_deref(), Some("train-1a2b"));
        assert_eq!(cluster.clocks, [DangerClock::IdleEnds { minutes: 30, destroys: true }]);
        assert_eq!(cluster.started, Some(1_786_000_000));
        assert!(cluster.is_on("aws") && !cluster.is_on("vast"));
    }

    #[test]
    fn what_is_not_told_is_not_made_up() {
        let cluster = one("").unwrap();
        assert_eq!((cluster.machines, cluster.clocks.len(), cluster.ports.len()), (1, 0, 0));
        for (fields, destroys) in [
            (r#","autostop":5"#, Some(false)),
            (r#","autostop":0,"to_down":"true""#, Some(false)),
            (r#","autostop":-1,"to_down":true"#, None),
            (r#","autostop":null"#, None),
            (r#","autostop":"5""#, None),
        ] {
            let told = one(fields).unwrap().clocks.into_iter().next().map(|clock| match clock {
                DangerClock::IdleEnds { destroys, .. } => destroys,
                other => panic!("{other:?}"),
            });
            assert_eq!(told, destroys, "{fields}");
        }
        for (word, state) in [
            ("INIT", MachineState::Starting),
            ("STOPPED", MachineState::Stopped),
            ("up", MachineState::Unknown),
            ("", MachineState::Unknown),
        ] {
            let text = format!(r#"[{{"name":"a","status":"{word}"}},{{"name":"b"}}]"#);
            let read = read(text.as_bytes()).unwrap();
            assert_eq!((read[0].state, read[1].state), (state, MachineState::Unknown), "{word}");
        }
        for (count, machines) in [("-1", 1), ("0", 1), ("99999", MACHINES_MAX), ("\"2\"", 1)] {
            assert_eq!(one(&format!(",\"nodes\":{count}")).unwrap().machines, machines);
        }
    }

    #[test]
    fn noise_before_the_answer_is_none_of_it() {
        for said in [
            "Cluster(s) not found: \u{1b}[1mx\u{1b}[0m.\n[]",
            "[INFO] asking\n[]\n",
            "[]\n",
            "[\n]\n",
        ] {
            assert_eq!(read(said.as_bytes()), Ok(vec![]), "{said:?}");
        }
    }

    /// Rows: B-A13.
    #[test]
    fn what_is_no_answer_is_refused() {
        for said in [
            "",
            "Clusters\nNAME  STATUS\n",
            "{}",
            "[] []",
            "[{}]",
            "[3]",
            r#"[{"name":null}]"#,
            r#"[{"name":7}]"#,
            r#"[{"name":"a\nb","status":"UP"}]"#,
            r#"[{"name":"../a","status":"UP"}]"#,
            r#"[{"name":"-a","status":"UP"}]"#,
            r#"[{"name":"a","name":"b"}]"#,
            r#"[{"name":"a"},{"name":"a"}]"#,
            r#"[{"name":"a","handle":"gASVAAAAAAAAAACMCg=="}]"#,
            r#"[{"name":"a","resources":{"ports":["10020-10019"]}}]"#,
            r#"[{"name":"a","resources":{"ports":["0-65536"]}}]"#,
            r#"[{"name":"a","ports":"abc"}]"#,
        ] {
            assert!(read(said.as_bytes()).is_err(), "{said:?}");
        }
        assert!(read(&[b'[', 0xff, b']']).is_err());
    }
}
