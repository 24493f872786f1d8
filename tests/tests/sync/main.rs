//! What `sync` leaves at a destination, judged by rsync and by what each row says

mod acls;
mod bucket;
mod chmod;
mod in_place;
mod left;
mod load_check;
mod receipt;
mod renamed;
mod rows;
mod stand;
mod stops;

use std::fs;

use rows::{After, ROWS, Row};
use stand::{Side, Stand};
use xfer_tests::oracle;

#[test]
fn here_every_row_ends_as_it_says() {
    all(&Stand::new(Side::Here));
}

#[test]
fn over_ssh_every_row_ends_as_it_says() {
    all(&Stand::new(Side::Ssh));
}

/// With this route nothing is moved but over the data port.
#[test]
fn over_tls_every_row_ends_as_it_says() {
    let stand = Stand::new(Side::Tls);
    all(&stand);
    let connecting = ROWS.iter().filter(|row| row.reason.is_none()).count() as u64;
    let packets = stand.packets_to_data_port();
    assert!(packets > 4 * connecting, "{packets} packets for {connecting} rows");
}

#[test]
fn at_a_standing_peer_every_row_ends_as_it_says() {
    all(&Stand::new(Side::Peer));
}

/// All rows that do not end as they say are told at once
fn all(stand: &Stand) {
    let wrong: Vec<_> = ROWS.iter().filter_map(|row| broken(stand, row)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn broken(stand: &Stand, row: &Row) -> Option<String> {
    let trees = stand.trees(row.source, row.there);
    let before = oracle::survey(&trees.there);
    let ended = stand.sync(&trees, row.flags);
    let wrong = |why: &str| {
        let (out, errors) = (&ended.stdout, &ended.stderr);
        Some(format!("{}: {why}\n{out}{errors}", row.name))
    };
    if ended.code() != row.code {
        return wrong(&format!("exit {} and not {}", ended.code(), row.code));
    }
    if let Some(reason) = row.reason
        && !ended.stderr.contains(&format!("exit {} {reason}", row.code))
    {
        return wrong(&format!("not for {reason}"));
    }
    let differences = match row.after {
        After::Equal => stand::changes(&trees.source, &trees.there),
        After::AsRsync(flags) => {
            let twin = stand.trees(row.source, row.there);
            stand::rsync(flags, &trees.source, &twin.there);
            stand::changes(&twin.there, &trees.there)
        }
        After::Untouched => {
            let is_same = oracle::survey(&trees.there) == before;
            if is_same { Vec::new() } else { vec!["it was touched".to_owned()] }
        }
        After::Tree(lines) => {
            let told = stand.trees(&[], lines);
            stand::changes(&told.there, &trees.there)
        }
    };
    if differences.is_empty() { None } else { wrong(&differences.join("\n")) }
}

/// A dry run names what would go, the events count it, and nothing happens.
#[test]
fn a_dry_run_lists_what_would_go() {
    let stand = Stand::new(Side::Here);
    let trees = stand.trees(&["keep=1", "d/=", "d/f=1"], &["keep=1", "d/=", "d/f=1", "old=22"]);
    let before = oracle::survey(&trees.there);
    let ended = stand.sync(&trees, &["--delete", "-n"]).expect_code(0);
    assert!(ended.stdout.contains("- old  2 B\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("to delete: 1 entry"), "{}", ended.stdout);
    let told = stand.sync(&trees, &["--delete", "--dry-run", "--json"]).expect_code(0);
    let events = told.events();
    let plan = events.iter().find(|event| event["type"] == "plan").expect("a plan");
    assert_eq!(plan["entries_to_delete"], 1);
    assert!(events.iter().any(|e| e["action"] == "delete" && e["path"] == "old"), "{events:?}");
    assert_eq!(told.result()["deleted"], 0);
    assert_eq!(oracle::survey(&trees.there), before);
    let done = stand.sync(&trees, &["--delete", "--json"]).expect_code(0);
    assert!(done.events().iter().any(|e| e["action"] == "deleted" && e["path"] == "old"));
    assert_eq!(done.result()["deleted"], 1);
    let schema = include_str!("../../../xfer-cli/schema/event.schema.json");
    let schema = serde_json::from_str(schema).expect("a schema");
    for event in events.iter().chain(&done.events()) {
        xfer_tests::schema::assert_valid(&schema, event);
    }
}

/// Directories get the times of the source again, although names in them went.
#[test]
fn times_of_directories_are_the_sources() {
    for side in [Side::Here, Side::Ssh] {
        let stand = Stand::new(side);
        let there = ["d/=", "d/f=1", "d/old=1", "keep=1", "also=1", "more=1"];
        let trees = stand.trees(&["d/=", "d/f=1", "keep=1", "also=1", "more=1"], &there);
        stand.sync(&trees, &["--delete"]).expect_code(0);
        oracle::assert_equal(&trees.source, &trees.there);
    }
}

/// One file under two names cannot have the times of two files; where they agree it may stay one.
#[test]
fn names_of_one_file_become_the_files_that_they_are() {
    for side in [Side::Here, Side::Ssh] {
        let stand = Stand::new(side);
        for (first, second) in [("a@5=1", "b@6=1"), ("a@6=1", "b@5=1"), ("a@7=1", "b@6=1")] {
            let trees = stand.trees(&[first, second], &["a@5=1", "b==a", "c==a"]);
            stand.sync(&trees, &["--delete"]).expect_code(0);
            oracle::assert_equal(&trees.source, &trees.there);
        }
        let trees = stand.trees(&["a@5=1", "b@5=1", "c@5=2"], &["a@5=1", "b==a", "c==a"]);
        let ended = stand.sync(&trees, &["--delete", "--json"]).expect_code(0);
        assert_eq!(ended.result()["bytes"]["moved"], 1, "{}", ended.stdout);
        assert_eq!(oracle::rsync_changes(&trees.source, &trees.there), Vec::<String>::new());
    }
}

/// A limit is held to the very entry.
#[test]
fn the_limit_is_exact() {
    let stand = Stand::new(Side::Here);
    let there: Vec<_> = (0..100).map(|n| format!("f{n:03}=1")).collect();
    let there: Vec<_> = there.iter().map(String::as_str).collect();
    for (kept, flags, code) in [
        (50, &[][..], 0),
        (49, &[], 17),
        (49, &["--max-delete", "51"], 0),
        (49, &["--max-delete", "50"], 17),
        (49, &["--max-delete=51%"], 0),
        (49, &["--max-delete=50%"], 17),
        (99, &["--max-delete", "0"], 17),
        (100, &["--max-delete", "0"], 0),
        (1, &["--max-delete", "99"], 0),
        (0, &["--max-delete", "100%"], 17),
    ] {
        let trees = stand.trees(&there[..kept], &there);
        let before = oracle::survey(&trees.there);
        let flags = [&["--delete"], flags].concat();
        let ended = stand.sync(&trees, &flags).expect_code(code);
        if code == 0 {
            assert!(stand::changes(&trees.source, &trees.there).is_empty(), "{kept} {flags:?}");
        } else {
            assert_eq!(oracle::survey(&trees.there), before, "{kept} {flags:?}");
            assert!(ended.stderr.contains("max-delete") || kept == 0, "{}", ended.stderr);
        }
    }
}

/// What is meant for one run alone is no setting.
#[test]
fn deletions_are_asked_for_by_a_flag_alone() {
    let stand = Stand::new(Side::Here);
    let trees = stand.trees(&["keep=1"], &["keep=1", "old=1"]);
    let before = oracle::survey(&trees.there);
    let own = stand.xfer_with("XFER_DELETE", "after");
    own.run(stand.arguments(&trees, &[])).expect_code(0);
    let after = oracle::survey(&trees.there);
    assert!(after.keys().eq(before.keys()), "a variable deletes");
    let config = stand.home().join("config/xfer/config.toml");
    fs::create_dir_all(config.parent().expect("a directory")).expect("create");
    for key in ["delete = \"after\"", "max-delete = 5", "backup-dir = \"old\""] {
        fs::write(&config, key).expect("write");
        let ended = stand.sync(&trees, &[]).expect_code(3);
        assert!(ended.stderr.contains("config-unknown-key"), "{}", ended.stderr);
    }
}
