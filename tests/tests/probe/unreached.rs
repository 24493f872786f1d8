//! Machines that are not reached: as a push tells it

use std::net::TcpListener;

use xfer_tests::sshd::{Sshd, keygen};
use xfer_tests::xfer::Xfer;

/// What a push and a probe tell of the same place
fn assert_alike(xfer: &Xfer, place: &str, code: i32) {
    let file = xfer.home().join("file");
    std::fs::write(&file, "x").expect("write");
    let file = file.to_str().expect("UTF-8");
    let pushed = xfer.run(["push", "--json", file, place]).expect_code(code).result();
    let probed = xfer.run(["probe", "--json", place]).expect_code(code).result();
    for field in ["exit_code", "reason", "message", "retry", "remedies"] {
        assert_eq!(probed[field], pushed[field], "{field} of {place}");
    }
}

#[test]
fn a_place_where_nobody_listens_is_what_a_push_says() {
    let free = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    assert_alike(&Xfer::new(), &format!("ssh://127.0.0.1:{port}/data"), 10);
}

#[test]
fn a_name_that_leads_nowhere_is_what_a_push_says() {
    assert_alike(&Xfer::new(), "no-such-host.invalid:data", 10);
}

#[test]
fn a_login_that_is_refused_is_what_a_push_says() {
    let server = Sshd::start("");
    let xfer = Xfer::new().ssh_config(server.client_config("host"));
    let other = xfer.home().join("other-key");
    keygen(&other, "ed25519");
    std::fs::copy(other.with_extension("pub"), server.authorized_keys()).expect("copy");
    assert_alike(&xfer, "host:data", 11);
}

#[test]
fn a_location_that_is_none_is_a_slip_of_the_hand() {
    Xfer::new().run(["probe", "ftp://host/path"]).expect_code(2);
    Xfer::new().run(["probe"]).expect_code(2);
    Xfer::new().run(["probe", "--duration", "0s", "/tmp"]).expect_code(2);
}

#[test]
fn one_that_is_not_reached_keeps_nobody_from_being_told_of_the_other() {
    let free = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let far = format!("ssh://127.0.0.1:{port}/data");
    let ended = Xfer::new().run(["probe", "--json", "--duration", "1s", &far, "/tmp"]);
    let ended = ended.expect_code(10);
    let events = ended.events();
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("probe"), count("problem")), (1, 1));
    assert_eq!(ended.result()["problems"], 1);
}
