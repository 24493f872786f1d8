//! Public files to a machine

use super::https::{Certificate, Https};
use super::{MIB, Trio, Weather, assert_passed, assert_same, tree};

/// The host that is asked, as both others know it
const ADDRESS: &str = "10.77.1.2";

/// What a machine fetched of a web server whose certificate it believes
struct Fetched {
    /// Who asked for what
    asked: Vec<String>,
    /// Bytes that passed the controller, and the result
    passed: u64,
    result: serde_json::Value,
    stdout: String,
}

fn fetched(path: &str) -> Fetched {
    let certificate = Certificate::of(ADDRESS);
    let config = format!("SetEnv SSL_CERT_FILE={}", certificate.vouching().display());
    let trio = Trio::new(&Weather::default(), &config);
    assert_eq!(trio.to_store.far().to_string(), ADDRESS);
    let vouching = certificate.vouching().display().to_string();
    let trio = trio.env(vec![("SSL_CERT_FILE".to_owned(), vouching)]);
    let file = trio.place.path().join("file");
    tree::big_file(&file, 40 * MIB + 777, 3);
    let web = Https::start(&trio.beyond, ADDRESS, &certificate, &file);
    trio.xfer.run(["ls", "machine:"]).expect_code(0);
    let before = trio.passed_here();
    let address = format!("https://{ADDRESS}:{}{path}", web.port());
    let ended = trio.xfer.run(["push", &address, "machine:to/", "--json"]).expect_code(0);
    let passed = trio.passed_here() - before;
    let name = path.trim_start_matches('/').split('?').next().expect("a name");
    assert_same(&file, &trio.machine.home().join("to").join(name));
    Fetched { asked: web.asked(), passed, result: ended.result(), stdout: ended.stdout }
}

#[test]
fn a_machine_fetches_a_public_file_itself() {
    let Fetched { asked, passed, result, stdout } = fetched("/file");
    assert_passed(passed, &result);
    assert!(stdout.contains("by its own link"), "{stdout}");
    let by_machine = asked.iter().filter(|line| line.starts_with("10.77.0.2 ")).count();
    assert!(by_machine >= 10, "{asked:?}");
}

/// Where a file is, is found out here; what is told to the machine is where it was found.
#[test]
fn redirections_are_followed_here() {
    let Fetched { asked, passed, result, .. } = fetched("/moved");
    assert_passed(passed, &result);
    let by_machine = || asked.iter().filter(|line| line.starts_with("10.77.0.2 "));
    assert!(by_machine().count() > 10, "{asked:?}");
    assert!(by_machine().all(|line| line.contains(" /file?")), "{asked:?}");
}

/// What may be a key that lasts is told to nobody.
#[test]
fn an_address_with_a_key_of_its_own_stays_here() {
    let Fetched { asked, stdout, .. } = fetched("/file?token=canary");
    assert!(stdout.contains("files pass through this machine"), "{stdout}");
    assert!(!asked.iter().any(|line| line.starts_with("10.77.0.2 ")), "{asked:?}");
}
