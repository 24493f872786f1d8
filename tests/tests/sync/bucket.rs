//! The rows in a bucket, where each tree is pushed first and pulled in the end

use std::ffi::OsString;
use std::path::Path;

use xfer_tests::stores::{Access, Moto, S3s, judges};
use xfer_tests::xfer::{Ended, Xfer};

use crate::rows::{After, ROWS, Row};
use crate::stand::{self, Side, Stand};

/// A program with a home, a bucket, and trees beside it
struct Bucket<'a> {
    stand: Stand,
    xfer: Xfer,
    access: &'a Access,
}

impl<'a> Bucket<'a> {
    fn of(access: &'a Access) -> Self {
        let variables = access.environment().into_iter();
        let xfer = variables.fold(Xfer::new(), |xfer, (name, value)| xfer.env(name, value));
        Self { stand: Stand::new(Side::Here), xfer, access }
    }

    fn run(&self, words: &[&str], from: OsString, to: OsString) -> Ended {
        let fixed = ["--endpoint-url", &self.access.endpoint];
        let words = words.iter().chain(&fixed).map(OsString::from);
        self.xfer.run(words.chain([from, to]))
    }

    /// A tree in the bucket
    fn planted(&self, lines: &[&str], at: &OsString) {
        if !lines.is_empty() {
            let tree = self.stand.trees(lines, &[]).source;
            self.run(&["push"], inside(&tree), at.clone()).expect_code(0);
        }
    }

    /// What is in the bucket, as files
    fn pulled(&self, at: OsString) -> std::path::PathBuf {
        let back = self.stand.trees(&[], &[]).there;
        self.run(&["pull"], at, back.clone().into()).expect_code(0);
        back
    }

    /// Files and their sizes as another tool lists them
    fn listed(&self, prefix: &str) -> Vec<(String, u64)> {
        let below = |(key, size): (String, u64)| Some((key.strip_prefix(prefix)?.to_owned(), size));
        let rows = judges::listed(self.access, prefix).into_iter().filter_map(below);
        rows.filter(|(key, _)| !key.starts_with(".xfer-receipts/")).collect()
    }

    fn broken(&self, row: &Row, number: usize) -> Option<String> {
        let trees = self.stand.trees(row.source, row.there);
        let at: OsString = self.access.location(&format!("{number}/")).into();
        if !row.there.is_empty() {
            self.run(&["push"], inside(&trees.there), at.clone()).expect_code(0);
        }
        let words = [&["sync"], row.flags].concat();
        let ended = self.run(&words, inside(&trees.source), at.clone());
        let told =
            |why: &str| Some(format!("{}: {why}\n{}{}", row.name, ended.stdout, ended.stderr));
        if ended.code() != row.code {
            return told(&format!("exit {} and not {}", ended.code(), row.code));
        }
        if let After::Tree(lines) = row.after
            && lines.iter().any(|line| line.starts_with(".xferignore"))
        {
            // It would be heeded on the way back too.
            let there = self.listed(&format!("{number}/"));
            return if there == sizes(lines) { None } else { told(&format!("{there:?}")) };
        }
        let wanted = match row.after {
            After::Equal => trees.source.clone(),
            After::Untouched => trees.there.clone(),
            After::Tree(lines) => self.stand.trees(&[], lines).there,
            After::AsRsync(flags) => {
                let twin = self.stand.trees(row.source, row.there);
                stand::rsync(flags, &trees.source, &twin.there);
                twin.there
            }
        };
        let flags = ["-nrlpc", "--delete", "--itemize-changes"];
        let differences = stand::rsync(&flags, &wanted, &self.pulled(at));
        if differences.is_empty() { None } else { told(&differences.join("\n")) }
    }

    fn every_row_ends_as_it_says(&self, also: impl Fn(&Row) -> bool) {
        let rows = ROWS.iter().filter(|row| concerns(row) && also(row)).enumerate();
        let wrong: Vec<_> = rows.filter_map(|(number, row)| self.broken(row, number)).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// A bucket has neither further names of a file nor another name for what goes, and takes no
/// entries by the name of our own
fn concerns(row: &Row) -> bool {
    let is_other = |line: &&str| line.contains("==") || line.contains(".xfer-");
    let other = |lines: &[&str]| lines.iter().any(is_other);
    let left_elsewhere = row.name == "what is left alone in the place of a directory";
    let backs_up = row.flags.contains(&"--backup-dir");
    !other(row.source) && !other(row.there) && !backs_up && !left_elsewhere
}

fn sizes(lines: &[&str]) -> Vec<(String, u64)> {
    let row = |line: &&str| {
        let (path, content) = line.split_once('=').expect("a file");
        (path.to_owned(), content.len() as u64)
    };
    let mut rows: Vec<_> = lines.iter().map(row).collect();
    rows.sort_unstable();
    rows
}

fn inside(path: &Path) -> OsString {
    let mut text = path.as_os_str().to_owned();
    text.push("/");
    text
}

#[test]
fn in_a_bucket_every_row_ends_as_it_says() {
    let store = S3s::start();
    // It keeps the directories of objects that went, and then takes no object of that name.
    let makes_way = |row: &Row| {
        let file = |line: &&str| line.split(['=', '@', '>']).next().unwrap_or_default().to_owned();
        let files: Vec<_> = row.source.iter().map(file).collect();
        let below = |line: &&str| files.iter().any(|f| line.starts_with(&format!("{f}/")));
        row.there.iter().any(below)
    };
    Bucket::of(store.access()).every_row_ends_as_it_says(|row| !makes_way(row));
}

#[test]
fn in_a_bucket_as_aws_has_them_every_row_ends_as_it_says() {
    let store = Moto::start();
    Bucket::of(store.access()).every_row_ends_as_it_says(|_| true);
}

/// Receipts and the manifest stay, and what another tool lists is what the source has.
#[test]
fn our_own_stays_and_others_see_what_is_left() {
    let store = Moto::start();
    let bucket = Bucket::of(store.access());
    let at: OsString = store.access().location("run/").into();
    bucket.planted(&["a=1", "b=22", "d/c=3", "d/e/=", "l->a"], &at);
    let source = bucket.stand.trees(&["a=1", "b=22"], &[]).source;
    let words = ["sync", "--delete", "--max-delete", "9", "--json"];
    let ended = bucket.run(&words, inside(&source), at.clone()).expect_code(0);
    assert_eq!(ended.result()["deleted"], 4, "{}", ended.stdout);
    assert_eq!(bucket.listed("run/"), sizes(&["a=1", "b=22"]));
    let left = judges::listed(store.access(), "run/");
    assert!(left.iter().any(|(key, _)| key.contains(".xfer-receipts/")), "{left:?}");
    // Nothing is left to be done.
    let again = bucket.run(&words, inside(&source), at).expect_code(0).result();
    assert_eq!((&again["deleted"], &again["entries"]["moved"]), (&0.into(), &0.into()));
}

/// A bucket that keeps versions keeps what was deleted, and that is said.
#[test]
fn versions_that_stay_are_told() {
    let store = Moto::start();
    let bucket = Bucket::of(store.access());
    let name = ["--bucket", &store.access().bucket];
    let versioned = ["s3api", "put-bucket-versioning", name[0], name[1]];
    let enabled = ["--versioning-configuration", "Status=Enabled"];
    judges::said(&mut judges::aws(store.access()), versioned.iter().chain(&enabled));
    let at: OsString = store.access().location("x/").into();
    bucket.planted(&["a=1", "b=1"], &at);
    let source = bucket.stand.trees(&["a=1"], &[]).source;
    let told = bucket.run(&["sync", "--delete"], inside(&source), at).expect_code(0);
    assert!(told.stderr.contains("keeps older versions of what was deleted"), "{}", told.stderr);
    assert_eq!(bucket.listed("x/"), sizes(&["a=1"]));
}

#[test]
fn nothing_is_kept_in_a_bucket() {
    let store = S3s::start();
    let bucket = Bucket::of(store.access());
    let at: OsString = store.access().location("x/").into();
    bucket.planted(&["a=1", "b=1"], &at);
    let source = bucket.stand.trees(&["a=1"], &[]).source;
    let words = ["sync", "--delete", "--backup-dir", "old"];
    let refused = bucket.run(&words, inside(&source), at).expect_code(2);
    assert!(refused.stderr.contains("exit 2 cannot-back-up"), "{}", refused.stderr);
}
