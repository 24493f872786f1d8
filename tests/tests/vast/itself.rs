//! `vast:self`: an instance knows which one it is, and its files are the files here

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use xfer_tests::vast_api::instance;
use xfer_tests::xfer::{Ended, Running, Xfer};
use xfer_tests::{oracle, tree};

use super::{KEY, SHOW};
use xfer_tests::vast_api::VastApi;

const ID: u64 = 7;

/// A key that opens this instance and nothing else
const OWN_KEY: &str = "canary-own-key-7";

/// What its first process was given, as the shell that starts everything else takes it
const FIRST: &str = "VAST_CONTAINERLABEL=C.7";

/// Runs the program in a container of its own: `first` is the environment of its first process
/// alone, and `written` what lies in `/etc/environment`
fn within(xfer: &Xfer, first: &[&str], written: Option<&str>, arguments: &[&str]) -> Ended {
    let environment = xfer.home().join("environment");
    fs::write(&environment, written.unwrap_or_default()).expect("write");
    let plain = xfer.command(arguments);
    let unset: Vec<_> = first.iter().filter_map(|pair| pair.split_once('=')).collect();
    let unset: String = unset.iter().map(|(name, _)| format!("-u {name} ")).collect();
    let script = format!(
        "mount --bind {} /etc/environment && env {unset} \"$@\"; exit $?",
        environment.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--mount-proc", "env"]);
    command.args(first).args(["sh", "-c", &script, "sh"]);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Running::start(command).wait()
}

fn stand(key: &str) -> (VastApi, Xfer) {
    let api = VastApi::start(key);
    api.is_unhurried();
    api.put(ID, instance(ID, "203.0.113.37", 30022));
    let xfer = Xfer::new().env("VAST_URL", api.base());
    tree::small_files(&xfer.home().join("tree"), 12, 3);
    (api, xfer)
}

fn assert_silent(ended: &Ended) {
    for secret in [KEY, OWN_KEY, "hidden-jupyter-token", "hidden-onstart-key"] {
        let said = [&ended.stdout, &ended.stderr].into_iter().any(|text| text.contains(secret));
        assert!(!said, "{secret} was printed");
    }
}

fn here(path: &Path) -> String {
    format!("vast:self:{}", path.display())
}

/// The key that only this instance has is used where there is no other, and never told.
#[test]
fn an_instance_copies_its_own_files_and_knows_what_that_costs() {
    let (api, xfer) = stand(OWN_KEY);
    let own = format!("CONTAINER_API_KEY={OWN_KEY}");
    let (from, to) = (here(&xfer.home().join("tree/")), xfer.home().join("copy"));
    let arguments = ["push", &from, &to.display().to_string(), "--json"];
    let ended = within(&xfer, &[FIRST, &own], None, &arguments).expect_code(0);
    oracle::assert_equal(&xfer.home().join("tree"), &to);
    assert_silent(&ended);
    let cost = ended.events().into_iter().find(|event| event["type"] == "cost").expect("a cost");
    assert_eq!(cost["usd_per_hour"], json!(0.4321));
    assert_eq!(
        (&cost["parts"][0]["machine"], &cost["parts"][0]["direction"]),
        (&json!("vast:7"), &json!("out"))
    );
    assert_eq!(api.asked(), [format!("GET {SHOW}7/?owner=me 200")]);
    let back = here(&xfer.home().join("back"));
    let arguments = ["pull", &to.display().to_string(), &back];
    within(&xfer, &[FIRST, &own], None, &arguments).expect_code(0);
    oracle::assert_equal(&to, &xfer.home().join("back/copy"));
}

#[test]
fn a_relative_path_is_below_home_and_a_listing_is_of_this_machine() {
    let (_api, xfer) = stand(KEY);
    let ended = within(&xfer, &[FIRST], None, &["ls", "vast:self:tree", "--json"]).expect_code(0);
    assert!(ended.result()["entries"]["selected"].as_u64() > Some(12));
    // Nobody tells what it costs without a key; its files are here all the same.
    let arguments = ["pull", "vast:self:tree", &xfer.home().join("x/").display().to_string()];
    let capped = [&arguments[..], &["--max-cost", "1000"]].concat();
    within(&xfer, &[FIRST], None, &capped).expect_code(17);
    let ended = within(&xfer, &[FIRST], None, &arguments).expect_code(0);
    let told = "vast:7 is this machine; what it costs is not known: vast:: no API key";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
}

#[test]
fn a_number_is_found_where_images_write_it() {
    let (api, xfer) = stand(KEY);
    let xfer = xfer.env("VAST_API_KEY", KEY);
    let arguments = ["ls", "vast:self:tree", "--json"];
    for (written, id) in [
        ("PATH=\"/usr/bin\"\nVAST_CONTAINERLABEL=\"C.7\"\n", Some(7)),
        ("SSH_PUBLIC_KEY=ssh-ed25519 AAAA\nno variable\n=\nVAST_CONTAINERLABEL=C.7", Some(7)),
        ("MORE=\"two\nlines\"\nexport CONTAINER_ID='7'\n", Some(7)),
        ("VAST_CONTAINERLABEL=C.7\nVAST_CONTAINERLABEL=C.8\n", None),
        ("VAST_CONTAINERLABEL=C.seven\n", None),
        ("", None),
    ] {
        let ended = within(&xfer, &[], Some(written), &arguments);
        match id {
            Some(_) => assert_eq!(ended.expect_code(0).result()["exit_code"], 0, "{written:?}"),
            None => {
                let result = ended.expect_code(2).result();
                assert_eq!(result["reason"], "not-on-machine", "{written:?}");
            }
        }
    }
    let asked = api.asked();
    assert!(asked.iter().all(|line| line.contains("/instances/7/")), "{asked:?}");
    // The first process is believed before what is written down, which may be another's.
    let other = Some("VAST_CONTAINERLABEL=C.8\n");
    within(&xfer, &[FIRST], other, &arguments).expect_code(0);
    assert!(api.asked().iter().all(|line| line.contains("/instances/7/")));
}

#[test]
fn a_probe_of_itself_tells_prices_and_clocks() {
    let (_api, xfer) = stand(KEY);
    let xfer = xfer.env("VAST_API_KEY", KEY);
    let place = here(xfer.home());
    let ended = within(&xfer, &[FIRST], None, &["probe", &place]).expect_code(0);
    for part in ["state     running: ", "price     $0.4321/h", "clock     ends 2026-12-30", "disk "]
    {
        assert!(ended.stdout.contains(part), "{part}\n{}", ended.stdout);
    }
    let probed = within(&xfer, &[FIRST], None, &["probe", &place, "--json"]).expect_code(0);
    let probe: Value = probed.events().into_iter().find(|e| e["type"] == "probe").expect("it");
    assert_eq!(probe["prices"]["running_per_hour"], json!(0.4321));
    assert_eq!(probe["estimates"], json!([]));
}

#[test]
fn files_that_open_accounts_are_not_taken_to_a_rented_machine_from_within_either() {
    let (_api, xfer) = stand(KEY);
    tree::write(&xfer.home().join("tree/.netrc"), b"secret");
    let from = xfer.home().join("tree/").display().to_string();
    let arguments = ["pull", &from, &here(&xfer.home().join("copy"))];
    within(&xfer, &[FIRST], None, &arguments).expect_code(16);
    assert!(!xfer.home().join("copy/.netrc").exists());
}
