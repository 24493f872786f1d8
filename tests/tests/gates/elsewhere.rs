//! What lies outside the roots, and what filters left out

use super::room::Kept;

/// Rows: J16.
#[test]
fn what_lies_outside_the_roots_is_covered_or_acknowledged() {
    let kept = Kept::new();
    kept.run("mkdir /srv/more; echo x >/srv/more/file");
    let reasons = kept.assert_held(&[], &["uncovered"]);
    let digest = reasons[0]["digest"].as_str().expect("a digest").to_owned();
    kept.assert_released(&["--ack", &digest]);
    kept.run("echo y >>/srv/more/file");
    kept.assert_held(&["--ack", &digest], &["uncovered"]);
    kept.assert_held(&["--root", "/srv/more"], &["not-copied"]);
    let bucket = kept.store.access().location("more/");
    let words = ["push", "box:/srv/more/", &bucket, "--verify", "read-back"];
    kept.xfer.run(words).expect_code(0);
    kept.assert_released(&["--root", "/srv/more"]);
}

/// Rows: J13.
#[test]
fn what_filters_left_out_is_acknowledged_by_its_list() {
    let kept = Kept::uncopied();
    kept.push(&["--exclude", "*.json"]);
    let reasons = kept.assert_held(&[], &["excluded"]);
    let digest = reasons[0]["digest"].as_str().expect("a digest").to_owned();
    kept.assert_released(&["--ack", &digest]);
    kept.run("echo '{}' >/data/other.json");
    kept.assert_held(&["--ack", &digest], &["excluded"]);
}

/// Rows: J18.
#[test]
fn several_receipts_cover_a_root_together() {
    let kept = Kept::uncopied();
    let to = |name: &str| kept.store.access().location(name);
    for (source, place) in [("box:/data/sub", "all/"), ("box:/data/one", "all/")] {
        kept.xfer.run(["push", source, &to(place), "--verify", "read-back"]).expect_code(0);
    }
    let reasons = kept.assert_held(&[], &["not-copied"]);
    assert_eq!(reasons[0]["paths"], serde_json::json!(["/data/link"]));
    kept.xfer.run(["push", "box:/data/link", &to("all/"), "--verify", "read-back"]).expect_code(0);
    kept.assert_released(&[]);
}
