//! SkyPilot: machines of its clusters, whichever cloud they are on.
//!
//! Its own program tells the state of a cluster, and the file that it writes for ssh how a machine
//! is reached; of a cluster that is on Vast.ai, Vast's own interface tells it better. What it
//! pickles is never read: that is a program, and no answer.

mod down;
mod ports;
mod program;
mod status;
mod way;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::OnceCell;
use xfer_protocol::data_port::{Carrier, InsidePort};

use super::error::{ApiProblem, PlatformError};
use super::{Configured, MachineRow, MachineState, Ordered, Platform, Prices, Shown};
use crate::location::{PlatformKind, PlatformMachine};
use crate::options::MappedPort;
use ports::OpenPort;
use status::Cluster;
use way::Way;

/// What is asked for a list of clusters.
const STATUS: [&str; 3] = ["status", "-o", "json"];

/// What stands between a cluster's name and the number of a machine that is not its head.
const WORKER: &str = "-worker";

/// What decides where SkyPilot is looked for.
#[derive(Clone, Debug)]
pub struct SkySettings {
    /// The directory of the files that it writes for ssh. Default: none.
    pub directory: Option<PathBuf>,
    /// Its program, looked for as a shell would. Default: `sky`.
    pub program: OsString,
}

impl Default for SkySettings {
    fn default() -> Self {
        Self { directory: None, program: "sky".into() }
    }
}

impl SkySettings {
    /// What the environment says, read through `variable`.
    #[must_use]
    pub fn of_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let home = variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        Self { directory: home.map(|home| home.join(".sky/generated/ssh")), ..Self::default() }
    }
}

/// Vast.ai, or why it cannot be asked.
type AskedVast = Result<Arc<dyn Platform>, PlatformError>;

/// SkyPilot, asked as its user would.
pub struct Sky {
    settings: SkySettings,
    vast: AskedVast,
    seed: u64,
    /// What clusters that are to go were last seen to be called on their cloud.
    called: Mutex<BTreeMap<String, String>>,
}

/// One machine of a cluster.
struct Member<'a> {
    cluster: &'a Cluster,
    name: String,
    /// Nought for the head.
    index: u64,
}

impl Sky {
    /// Asks nobody yet. `vast` is asked for clusters that are there; an error counts then alone.
    #[must_use]
    pub fn new(settings: SkySettings, vast: AskedVast, seed: u64) -> Self {
        Self { settings, vast, seed, called: Mutex::default() }
    }

    fn failed(&self, problem: ApiProblem) -> PlatformError {
        PlatformError { place: "SkyPilot".to_owned(), problem }
    }

    async fn clusters(&self, names: &[&str]) -> Result<Vec<Cluster>, PlatformError> {
        let arguments = [&STATUS[..], names].concat();
        let said = program::run(&self.settings.program, &arguments).await;
        let said = said.map_err(|problem| self.failed(problem))?;
        status::read(&said).map_err(|what| self.failed(ApiProblem::Answer(what)))
    }

    /// Ports that a cluster opened; none where it tells of none, which it tells by failing.
    async fn endpoints(&self, cluster: &str) -> Result<Vec<OpenPort>, PlatformError> {
        let arguments = ["status", "--endpoints", cluster];
        let Ok(said) = program::run(&self.settings.program, &arguments).await else {
            return Ok(Vec::new());
        };
        let said = ports::endpoints(&String::from_utf8_lossy(&said));
        said.map_err(|what| self.failed(ApiProblem::Answer(what)))
    }

    async fn row(
        &self,
        member: &Member<'_>,
        endpoints: &[OpenPort],
        vast: &OnceCell<Vec<MachineRow>>,
    ) -> Result<MachineRow, PlatformError> {
        let row = plain_row(member);
        if row.state != MachineState::Running {
            return Ok(row);
        }
        let way = self.way(member).await?;
        if way.is_of_vast() || member.cluster.is_on("vast") {
            let rented = self.on_vast(member, &way, vast).await?;
            return Ok(through_vast(row, rented, way));
        }
        let ports = mapped(member, endpoints, &way);
        Ok(MachineRow { mapped: ports.len(), ports, logins: vec![way.login], ..row })
    }

    async fn way(&self, member: &Member<'_>) -> Result<Way, PlatformError> {
        let cluster = &member.cluster.name;
        let missing = |what: String| {
            let command = ["sky", "status", cluster].map(str::to_owned).to_vec();
            self.failed(ApiProblem::Missing { what, command })
        };
        let Some(directory) = &self.settings.directory else {
            return Err(missing("there is no home directory to look for its files in".to_owned()));
        };
        let file = directory.join(cluster);
        let found = way::find(&file, &member.name, self.seed).await;
        let found = found.map_err(|problem| self.failed(problem))?;
        found.ok_or_else(|| {
            missing(format!("{} does not tell how {} is reached", file.display(), member.name))
        })
    }

    /// The instance that a machine is. All but the head bear one label, so among these the address
    /// decides that the file has.
    async fn on_vast(
        &self,
        member: &Member<'_>,
        way: &Way,
        rows: &OnceCell<Vec<MachineRow>>,
    ) -> Result<MachineRow, PlatformError> {
        let rows = rows.get_or_try_init(async || self.vast.clone()?.list().await).await?;
        let cluster = member.cluster;
        let name = way.name_on_cloud.as_ref().or(cluster.name_on_cloud.as_ref());
        let unknown = |what: String| self.failed(ApiProblem::Answer(what));
        let name = name.ok_or_else(|| {
            unknown(format!("nothing tells what {} is called at Vast.ai", cluster.name))
        })?;
        let label =
            if member.index == 0 { format!("{name}-head") } else { format!("{name}-worker") };
        let labelled = rows.iter().filter(|row| row.label.as_deref() == Some(&label));
        let labelled: Vec<_> = labelled.collect();
        let at_its_address = |row: &&&MachineRow| {
            row.logins.iter().any(|l| (&l.host, l.port) == (&way.login.host, way.login.port))
        };
        let addressed: Vec<_> = labelled.iter().filter(at_its_address).collect();
        match (&labelled[..], &addressed[..]) {
            ([], _) => {
                let what = format!("no instance of Vast.ai is labelled {label}");
                let command = ["sky", "status", "--refresh", &cluster.name];
                let command = command.map(str::to_owned).to_vec();
                Err(self.failed(ApiProblem::Missing { what, command }))
            }
            ([only], _) if member.index == 0 || cluster.machines <= 2 => Ok((*only).clone()),
            (_, [one]) => Ok((**one).clone()),
            _ => Err(unknown(format!(
                "{} instances of Vast.ai are labelled {label}, and which of them {} is cannot be \
                 told by the address {}:{}",
                labelled.len(),
                member.name,
                way.login.host,
                way.login.port
            ))),
        }
    }
}

/// What is known of a machine by its cluster alone.
fn plain_row(member: &Member<'_>) -> MachineRow {
    let cluster = member.cluster;
    MachineRow {
        machine: PlatformMachine::named(PlatformKind::Sky, &member.name),
        // Nothing inside tells the name of a machine on any cloud.
        says: None,
        label: cluster.name_on_cloud.clone(),
        state: cluster.state,
        status: cluster.status.clone(),
        logins: Vec::new(),
        lacking: Vec::new(),
        ports: Vec::new(),
        mapped: 0,
        near: Vec::new(),
        host: None,
        disk: None,
        started: cluster.started,
        prices: Prices::default(),
        clocks: cluster.clocks.clone(),
    }
}

/// What Vast tells, under the name that the cluster gives it, and with the keys of its file.
fn through_vast(row: MachineRow, mut rented: MachineRow, way: Way) -> MachineRow {
    for login in &mut rented.logins {
        login.configured = way.login.configured.clone().map(|configured| Configured {
            own_command: None,
            tunnel: None,
            ..configured
        });
    }
    MachineRow {
        machine: row.machine,
        status: format!("{}, {} {}", row.status, rented.machine, rented.status),
        clocks: [row.clocks, rented.clocks].concat(),
        ..rented
    }
}

/// What may carry payload beside the login. A cloud opens a port of all machines of a cluster, and
/// tells the head's.
fn mapped(member: &Member<'_>, endpoints: &[OpenPort], way: &Way) -> Vec<MappedPort> {
    let port = |inside: u16, host: &str, outside: u16| MappedPort {
        inside: InsidePort { carrier: Carrier::Tcp, number: inside },
        host: Some(host.to_owned()),
        outside,
    };
    let own = &way.login.host;
    let mut mapped: Vec<_> = match member.index {
        0 => endpoints.iter().map(|open| port(open.inside, &open.host, open.outside)).collect(),
        _ if !way.is_plain => Vec::new(),
        _ => {
            let same = endpoints.iter().filter(|open| open.inside == open.outside);
            same.map(|open| port(open.inside, own, open.outside)).collect()
        }
    };
    if way.is_plain {
        let asked = member.cluster.ports.iter().map(|number| port(*number, own, *number));
        for open in asked {
            if !mapped.iter().any(|known| known.inside == open.inside) {
                mapped.push(open);
            }
        }
    }
    mapped
}

/// The cluster that a name would be a further machine of, and the number of that machine.
fn as_worker(name: &str) -> Option<(&str, u64)> {
    let (cluster, number) = name.rsplit_once(WORKER)?;
    let is_number = !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
    let index = number.parse().ok().filter(|_| is_number)?;
    (!cluster.is_empty()).then_some((cluster, index))
}

#[async_trait]
impl Platform for Sky {
    async fn list(&self) -> Result<Vec<MachineRow>, PlatformError> {
        let (clusters, vast) = (self.clusters(&[]).await?, OnceCell::new());
        let mut rows = Vec::new();
        for cluster in &clusters {
            for index in 0..cluster.machines {
                let name = match index {
                    0 => cluster.name.clone(),
                    _ => format!("{}{WORKER}{index}", cluster.name),
                };
                let member = Member { cluster, name, index };
                // One that cannot be reached is there all the same.
                rows.push(match self.row(&member, &[], &vast).await {
                    Ok(row) => row,
                    Err(error) => {
                        MachineRow { lacking: vec![error.to_string()], ..plain_row(&member) }
                    }
                });
            }
        }
        Ok(rows)
    }

    async fn show(&self, name: &str) -> Result<Shown, PlatformError> {
        let worker = as_worker(name);
        let names = [Some(name), worker.map(|(cluster, _)| cluster)];
        let names: Vec<_> = names.into_iter().flatten().collect();
        let cluster = names.last().copied().unwrap_or(name);
        let (clusters, endpoints) = tokio::join!(self.clusters(&names), self.endpoints(cluster));
        let (clusters, endpoints) = (clusters?, endpoints?);
        let called = |name: &str| clusters.iter().find(|cluster| cluster.name == name);
        let as_worker = worker.and_then(|(cluster, index)| Some((called(cluster)?, index)));
        let member = match (called(name), as_worker) {
            (Some(cluster), None) => Member { cluster, name: name.to_owned(), index: 0 },
            (None, Some((cluster, index))) if index < cluster.machines => {
                Member { cluster, name: name.to_owned(), index }
            }
            (None, Some((cluster, _))) => {
                let what = format!("{} has {} machines", cluster.name, cluster.machines);
                let command = ["sky", "status", &cluster.name].map(str::to_owned).to_vec();
                return Err(self.failed(ApiProblem::Missing { what, command }));
            }
            (Some(_), Some((cluster, _))) => {
                let what = format!("{name} is a cluster, and a machine of {} too", cluster.name);
                return Err(self.failed(ApiProblem::Answer(what)));
            }
            (None, None) => return Ok(Shown::Gone),
        };
        let row = self.row(&member, &endpoints, &OnceCell::new()).await?;
        Ok(Shown::Present(Box::new(row)))
    }

    async fn show_before_and_after(&self, name: &str) -> Result<Shown, PlatformError> {
        self.at_the_cloud(name).await
    }

    async fn destroy(&self, name: &str) -> Ordered {
        self.down(name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_known_by_its_number() {
        assert_eq!(as_worker("train-worker1"), Some(("train", 1)));
        assert_eq!(as_worker("a-worker2-worker10"), Some(("a-worker2", 10)));
        for name in ["train", "train-worker", "train-worker0", "train-worker01", "-worker1"] {
            assert_eq!(as_worker(name), None, "{name}");
        }
        assert_eq!(as_worker("train-worker1x"), None);
        assert_eq!(as_worker(&format!("train-worker{}", "9".repeat(30))), None);
    }
}
