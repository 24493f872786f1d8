//! The rows in a bucket, where each tree is pushed first and pulled in the end

use std::ffi::OsString;
use std::path::Path;

use xfer_tests::stores::{Access, S3s};
use xfer_tests::xfer::{Ended, Xfer};

use crate::rows::{After, ROWS, Row};
use crate::stand::{self, Side, Stand};

/// A bucket has neither further names of a file nor another name for what goes, and takes no
/// entries by the name of our own
fn concerns(row: &Row) -> bool {
    let is_other = |line: &&str| line.contains("==") || line.starts_with(".xfer-receipts");
    let links = |lines: &[&str]| lines.iter().any(is_other);
    !links(row.source) && !links(row.there) && !row.flags.contains(&"--backup-dir")
}

#[test]
fn in_a_bucket_every_row_ends_as_it_says() {
    let store = S3s::start();
    let access = store.access();
    let variables = access.environment().into_iter();
    let xfer = variables.fold(Xfer::new(), |xfer, (name, value)| xfer.env(name, value));
    let stand = Stand::new(Side::Here);
    let rows = ROWS.iter().filter(|row| concerns(row)).zip(0..);
    let wrong: Vec<_> =
        rows.filter_map(|(row, number)| broken(&stand, &xfer, access, row, number)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn broken(stand: &Stand, xfer: &Xfer, access: &Access, row: &Row, number: u32) -> Option<String> {
    let trees = stand.trees(row.source, row.there);
    let at: OsString = access.location(&format!("{number}/")).into();
    let run = |words: &[&str], from: OsString, to: OsString| -> Ended {
        let fixed = ["--endpoint-url", &access.endpoint];
        let words = words.iter().chain(&fixed).map(OsString::from);
        xfer.run(words.chain([from, to]))
    };
    if !row.there.is_empty() {
        run(&["push"], inside(&trees.there), at.clone()).expect_code(0);
    }
    let words = [&["sync"], row.flags].concat();
    let ended = run(&words, inside(&trees.source), at.clone());
    let told = |why: &str| Some(format!("{}: {why}\n{}{}", row.name, ended.stdout, ended.stderr));
    if ended.code() != row.code {
        return told(&format!("exit {} and not {}", ended.code(), row.code));
    }
    let wanted = match row.after {
        After::Equal => trees.source.clone(),
        After::Untouched => trees.there.clone(),
        After::Tree(lines) => stand.trees(&[], lines).there,
        After::AsRsync(flags) => {
            let twin = stand.trees(row.source, row.there);
            stand::rsync(flags, &trees.source, &twin.there);
            twin.there
        }
    };
    let back = stand.trees(&[], &[]).there;
    run(&["pull"], at, back.clone().into()).expect_code(0);
    let flags = ["-nrlpc", "--delete", "--itemize-changes"];
    let differences = stand::rsync(&flags, &wanted, &back);
    if differences.is_empty() { None } else { told(&differences.join("\n")) }
}

fn inside(path: &Path) -> OsString {
    let mut text = path.as_os_str().to_owned();
    text.push("/");
    text
}
