//! What changed on the machine, or at the destination, after it was copied

use std::fs;

use super::room::Kept;

/// Rows: D3, J5, J6.
#[test]
fn each_change_holds_for_its_own_reason() {
    let kept = Kept::new();
    kept.assert_released(&[]);
    kept.run("cp -p /data/one /tmp/x; echo 0ne >/data/one; touch -r /tmp/x /data/one; rm /tmp/x");
    let reasons = kept.assert_held(&[], &["changed-after-copy"]);
    assert_eq!(reasons[0]["paths"][0], "/data/one");
    kept.run("echo one >/data/one");
    kept.assert_released(&[]);
    kept.run("mkdir /data/new; echo x >/data/new/file");
    let reasons = kept.assert_held(&[], &["not-copied"]);
    assert_eq!(reasons[0]["paths"][0], "/data/new/file");
    kept.run("rm -r /data/new; mkfifo /data/pipe");
    let reasons = kept.assert_held(&[], &["excluded"]);
    let digest = reasons[0]["digest"].as_str().expect("a digest").to_owned();
    kept.assert_released(&["--ack", &digest]);
    kept.run("rm /data/pipe; mkfifo /data/pipe2");
    kept.assert_held(&["--ack", &digest], &["excluded"]);
    kept.run("rm /data/pipe2; mv /data/one /data/three");
    kept.assert_held(&[], &["not-copied"]);
    kept.push(&[]);
    kept.assert_released(&[]);
}

/// Rows: D4, J5.
#[test]
fn who_can_write_is_told_until_he_is_gone() {
    let kept = Kept::new();
    let writer = kept.hold("exec 3>>/data/one");
    let reasons = kept.assert_held(&[], &["open-for-write"]);
    assert!(reasons[0]["pid"].as_u64().is_some_and(|pid| pid > 1));
    assert!(reasons[0]["remedy"].as_str().is_some_and(|text| text.starts_with("stop pid ")));
    drop(writer);
    kept.assert_released(&[]);
}

/// Rows: J6, J7.
#[test]
fn a_destination_is_read_back_each_time() {
    let kept = Kept::new();
    let object = kept.store.objects().join("run7/one");
    let content = fs::read(&object).expect("an object");
    fs::write(&object, b"0ne\n").expect("write");
    kept.assert_held(&[], &["destination-differs"]);
    fs::remove_file(&object).expect("remove");
    kept.assert_held(&[], &["destination-differs"]);
    fs::write(&object, content).expect("write");
    kept.assert_released(&[]);
    // What loads no more does not load, whoever copied it.
    kept.run(r#"echo '{"loss": ' >/data/sub/log.json"#);
    kept.push(&[]);
    kept.assert_held(&[], &["not-loaded"]);
    let policy = kept.xfer.home().join("gate.toml");
    fs::write(&policy, "load-check = false\n").expect("write");
    kept.assert_released(&["--policy", policy.to_str().expect("text")]);
}

/// A command sees each file of the destination, and what it does not take holds.
#[test]
fn a_command_of_ones_own_says_what_loads() {
    let kept = Kept::new();
    let seen = kept.xfer.home().join("seen");
    let take = format!(
        "cat >bytes; test $(wc -c <bytes) = $XFER_SIZE && echo $XFER_PATH $(cat bytes) >>{}",
        seen.display()
    );
    let in_home = format!("cd {} && {take}", kept.xfer.home().display());
    kept.assert_released(&["--load-check", &in_home]);
    let mut lines: Vec<_> =
        fs::read_to_string(&seen).expect("read").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["one one", r#"sub/log.json {"loss": 0.5}"#, "sub/two two"]);
    let refuses = ["--load-check", "case $XFER_PATH in */two) exit 1; esac"];
    let reasons = kept.assert_held(&refuses, &["not-loaded"]);
    assert_eq!(reasons[0]["entries"], 1, "{reasons:?}");
    kept.assert_held(&["--load-check", "kill -9 $$"], &["not-loaded"]);
    // It is asked for what nothing else is: all of it is taken, broken or not.
    kept.run(r#"echo '{"loss": ' >/data/sub/log.json"#);
    kept.push(&[]);
    kept.assert_held(&["--load-check", "true"], &["not-loaded"]);
    let policy = kept.xfer.home().join("gate.toml");
    fs::write(&policy, "load-check = false\n").expect("write");
    let policy = policy.to_str().expect("text");
    kept.assert_released(&["--policy", policy, "--load-check", "true"]);
    kept.assert_held(&["--policy", policy, "--load-check", "false"], &["not-loaded"]);
}

/// Rows: I2, J8.
#[test]
fn a_machine_that_was_started_again_is_another() {
    let mut kept = Kept::new();
    kept.assert_released(&[]);
    kept.recycle();
    let reasons = kept.held(&[]);
    assert!(reasons.iter().all(|reason| reason["id"] == "identity-changed"), "{reasons:#?}");
    assert!(reasons[0].to_string().contains("process 1"), "{reasons:#?}");
    kept.push(&[]);
    kept.assert_released(&[]);
}

/// More small files than one request may bring, and among them some that load.
#[test]
fn many_small_files_are_opened_piece_by_piece() {
    let kept = Kept::uncopied();
    kept.run("for n in $(seq 60); do head -c 600000 /dev/urandom >/data/$n; done");
    kept.push(&[]);
    assert_eq!(kept.assert_released(&[])["entries"], 64);
}

/// Rows: J14.
#[test]
fn a_root_that_is_gone_or_empty_is_no_release() {
    let kept = Kept::new();
    kept.run("mv /data /srv/data; ln -s /srv/data /data");
    let ids: Vec<_> = kept.held(&[]).iter().map(|reason| reason["id"].clone()).collect();
    assert!(ids.contains(&"scan-incomplete".into()), "{ids:?}");
    kept.run("rm /data; mv /srv/data /data; mkdir /srv/far; ln -s /srv/far /data/near");
    kept.push(&[]);
    let ids: Vec<_> = kept.held(&["--root", "/data/near"]);
    let link = ids.iter().find(|reason| reason["id"] == "scan-incomplete").expect("it holds");
    assert_eq!(link["paths"][0], "/data/near", "a link in a root is no root");
    kept.run("mv /data /srv/data");
    let ids: Vec<_> = kept.held(&[]).iter().map(|reason| reason["id"].clone()).collect();
    assert!(ids.contains(&"scan-incomplete".into()), "{ids:?}");
    kept.run("mkdir /data; rm -r /srv/data");
    kept.assert_held(&[], &["empty-root"]);
}
