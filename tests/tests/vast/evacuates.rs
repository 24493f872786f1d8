//! A machine from its first file saved to its end, as one line that may be run again

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use xfer_tests::machine::{Disk, Machine};
use xfer_tests::net::{Lab, Weather};
use xfer_tests::sshd::{keygen, public_key};
use xfer_tests::stores::S3s;
use xfer_tests::vast_api::instance;
use xfer_tests::xfer::{Ended, Running};

use super::{KEY, Stand};

/// As the machine's first process is told that it is called
const ID: u64 = 7;
const DELETE: &str = "DELETE 7 {}";
const PORT: u16 = 2222;

/// What lets the program in; keys lie where nobody looks for files of a user's
const LOGIN: &str = "mkdir -p /run/sshd
    echo root:x:0:0::/root:/bin/bash >/etc/passwd
    echo sshd:x:101:65534::/run/sshd:/usr/sbin/nologin >>/etc/passwd
    echo root:x:0: >/etc/group
    chmod 600 /etc/ssh/hostkey
    exec /usr/sbin/sshd -f /etc/ssh/config -E /run/sshd/log";

/// A rented machine that is a container with a login of its own, and a bucket
struct Leaving {
    lab: Lab,
    machine: Machine,
    _disk: Disk,
    stand: Stand,
    store: S3s,
}

impl Leaving {
    fn new() -> Self {
        let lab = Lab::new(&Weather::default());
        let disk = Disk::new();
        let machine = lab.far.within(|| Machine::start(&disk, ""));
        let stand = Stand::within(&lab.near, KEY);
        stand.api.is_unhurried();
        stand.api.put(ID, instance(ID, &lab.link.far().to_string(), PORT));
        let store = S3s::start_within(&lab.near, Ipv4Addr::LOCALHOST, "canary-secret-4711");
        let Stand { api, mut xfer } = stand;
        for (name, value) in store.access().environment() {
            xfer = xfer.env(name, value);
        }
        xfer = xfer.env("AWS_ENDPOINT_URL_S3", &store.access().endpoint);
        let home = xfer.home().to_owned();
        for name in ["hostkey", "userkey"] {
            keygen(&home.join(name), "ed25519");
        }
        let text = |name: &str| std::fs::read_to_string(home.join(name)).expect("read");
        let config = format!(
            "Port {PORT}\nListenAddress {}\nUsePAM no\nStrictModes no\nPidFile none\n\
             SetEnv VAST_CONTAINERLABEL=C.7\n\
             AuthorizedKeysFile /etc/ssh/keys\nHostKey /etc/ssh/hostkey\n",
            lab.link.far()
        );
        let (host, user) = (text("hostkey"), public_key(&home.join("userkey.pub")));
        lab.far.within(|| {
            machine.run(&format!(
                "mkdir -p /etc/ssh; echo '{host}' >/etc/ssh/hostkey; echo '{user}' >/etc/ssh/keys\n\
                 echo '{config}' >/etc/ssh/config"
            ));
            machine.run(LOGIN);
        });
        let ssh = format!(
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
             GlobalKnownHostsFile /dev/null\n",
            home.join("userkey").display()
        );
        std::fs::write(home.join("ssh_config"), ssh).expect("write");
        let xfer = xfer.ssh_config(home.join("ssh_config"));
        machine.run("echo one >/data/one; echo two >/data/sub/two");
        Self { lab, machine, _disk: disk, stand: Stand { api, xfer }, store }
    }

    fn start(&self, flags: &[&str]) -> Running {
        let bucket = self.store.access().location("run7/");
        let words = ["evacuate", "vast:7:/data", &bucket, "--json"];
        self.stand.xfer.start([&words, flags].concat())
    }

    fn evacuate(&self, flags: &[&str], code: i32) -> Ended {
        let ended = self.start(flags).wait().expect_code(code);
        assert!(!ended.stdout.contains(KEY) && !ended.stderr.contains(KEY));
        ended
    }

    fn orders(&self) -> Vec<String> {
        self.stand.api.orders()
    }
}

fn verdict(ended: &Ended) -> Value {
    let verdict = ended.events().into_iter().find(|event| event["type"] == "verdict");
    verdict.map_or(Value::Null, |verdict| verdict["verdict"].clone())
}

const TO_ITS_END: &[&str] = &["--destroy", "--confirm", "7"];

#[test]
fn one_line_saves_all_and_ends_the_machine() {
    let leaving = Leaving::new();
    let saved = leaving.evacuate(&[], 0);
    assert_eq!((verdict(&saved), &saved.result()["reason"]), (json!("release"), &json!("release")));
    assert!(leaving.orders().is_empty(), "nothing was to be destroyed");
    let counts = &saved.result()["entries"];
    assert_eq!((&counts["selected"], &counts["moved"]), (&json!(4), &json!(4)));
    let planned = leaving.evacuate(&["-n"], 0).result();
    assert_eq!((&planned["reason"], &planned["entries"]["selected"]), (&json!("done"), &json!(4)));
    let ended = leaving.evacuate(TO_ITS_END, 0);
    assert_eq!(ended.result()["reason"], "destroyed");
    let told = ended.events().into_iter().find(|event| event["type"] == "machine");
    assert!(told.expect("the machine").to_string().contains("contract-ends"));
    assert_eq!(leaving.orders(), [DELETE]);
    let object = leaving.store.objects().join("run7/data/sub/two");
    assert_eq!(std::fs::read_to_string(object).expect("an object"), "two\n");
    // Once more, as cron does it.
    let again = leaving.evacuate(TO_ITS_END, 0);
    assert_eq!(again.result()["reason"], "destroyed");
    assert_eq!(leaving.orders(), [DELETE]);
}

#[test]
fn what_holds_is_left_as_it_is_or_stopped() {
    let leaving = Leaving::new();
    let writer = leaving.machine.hold("exec 3>>/data/one");
    let ended = leaving.evacuate(TO_ITS_END, 20);
    assert_eq!((verdict(&ended), &ended.result()["reason"]), (json!("hold"), &json!("hold")));
    assert!(leaving.orders().is_empty());
    let flags = [TO_ITS_END, &["--on-hold", "stop"]].concat();
    leaving.evacuate(&flags, 20);
    let orders = leaving.orders();
    assert!(orders.len() == 1 && orders[0].contains("stopped"), "{orders:?}");
    drop(writer);
}

/// What an earlier run was refused is not asked again for roots that it did not know.
#[test]
fn an_older_token_destroys_nothing_that_is_not_copied_yet() {
    let leaving = Leaving::new();
    let token = leaving.stand.xfer.home().join("token").display().to_string();
    leaving.evacuate(&["--token", &token], 0);
    leaving.stand.api.answers_orders_with(r#"{"success": false, "msg": "not now"}"#);
    let words = ["destroy", "vast:7", "--token", &token, "--confirm", "7", "--json"];
    leaving.stand.xfer.run(words).expect_code(13);
    assert!(leaving.orders().is_empty());
    leaving.machine.run("mkdir /srv/more; echo three >/srv/more/file");
    leaving.evacuate(&[TO_ITS_END, &["--root", "/srv/more"]].concat(), 0);
    let object = leaving.store.objects().join("run7/more/file");
    assert_eq!(std::fs::read_to_string(object).expect("an object"), "three\n");
    assert_eq!(leaving.orders(), [DELETE]);
}

#[test]
fn nothing_is_destroyed_that_nobody_confirmed() {
    let leaving = Leaving::new();
    for flags in [
        &["--destroy"][..],
        &["--destroy", "--yes"],
        &["--destroy", "--confirm", "8"],
        &["--confirm", "7"],
    ] {
        leaving.evacuate(flags, 2);
    }
    assert!(leaving.orders().is_empty());
    assert!(!leaving.store.objects().join("run7").exists(), "nothing was moved either");
}

/// Rows: J17.
#[test]
fn a_line_that_is_killed_again_and_again_destroys_once() {
    let leaving = Leaving::new();
    for told in ["route", "receipt", "verdict"] {
        let running = leaving.start(TO_ITS_END);
        running.next_event(|event| event["type"] == told).expect("an event");
        running.signal("KILL");
        drop(running.wait());
    }
    leaving.evacuate(TO_ITS_END, 0);
    leaving.evacuate(TO_ITS_END, 0);
    let orders = leaving.orders();
    assert!(orders.iter().all(|order| order == DELETE) && !orders.is_empty(), "{orders:?}");
    assert!(orders.len() <= 2, "once by the killed, where its request was heard: {orders:?}");
    drop(leaving.lab);
}
