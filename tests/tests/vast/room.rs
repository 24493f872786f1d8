//! A rented disk has the room that it was made with, and no more

use serde_json::json;

use super::logins::{ID, Rented, THERE};

#[test]
fn what_does_not_fit_is_refused_with_the_size_that_was_rented() {
    let rented = Rented::new();
    let source = format!("{}/", rented.tree().display());
    let arguments = ["push", &source, THERE, "--reserve", "1000000GB"];
    let ended = rented.stand.xfer.run(arguments).expect_code(8);
    let told = "the disk of 200 GB of a rented machine is fixed and cannot grow";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing sent") && ended.stderr.contains("exit 8 no-space"));
    for unknown in [json!(null), json!(-1), json!("x"), json!(1e300)] {
        rented.stand.api.set(ID, "disk_space", unknown.clone());
        let ended = rented.stand.xfer.run(arguments).expect_code(8);
        let told = "the disk of a rented machine is fixed and cannot grow";
        assert!(ended.stderr.contains(told), "{unknown}: {}", ended.stderr);
    }
}

/// The message of a disk that is not rented speaks of no rent.
#[test]
fn another_disk_may_grow() {
    let xfer = xfer_tests::xfer::Xfer::new();
    let file = xfer.home().join("file");
    xfer_tests::tree::write(&file, b"content");
    let [from, to] = [file, xfer.home().join("copy")].map(|path| path.display().to_string());
    let ended = xfer.run(["push", &from, &to, "--reserve", "1000000GB"]).expect_code(8);
    assert!(!ended.stderr.contains("rented"), "{}", ended.stderr);
}
