//! Every flag as a row of one table.
//!
//! The parser, `--help`, the man page, completions, the environment twins and the keys of
//! configuration files are all read from it; adding a flag is adding a row and its one reader in
//! `settings`.

use super::values::{self, Refusal};

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Long name without dashes; empty where there is none.
    pub(crate) long: &'static str,
    /// One letter.
    pub(crate) short: Option<char>,
    /// What it takes.
    pub(crate) kind: Kind,
    /// Which verbs have it, and its heading.
    pub(crate) group: Group,
    /// One line.
    pub(crate) help: &'static str,
}

/// What a flag takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Nothing; `--no-x` is its opposite, and the one shown where it is on by default.
    Switch {
        /// Whether it is on by default.
        on: bool,
    },
    /// Nothing; `--no-x` is meaningless. Given again, it counts.
    Count,
    /// Nothing, and it changes nothing: what other tools' users type.
    OldFinger,
    /// One value.
    Value(&'static str, fn(&str) -> Result<(), Refusal>),
    /// One value, behind `=`, or none, which says the same as this one.
    Optional(&'static str, &'static str, fn(&str) -> Result<(), Refusal>),
    /// One value each time that it is given.
    Values(&'static str, fn(&str) -> Result<(), Refusal>),
    /// The name of a file, any bytes.
    File(&'static str),
    /// The names of files, any bytes.
    Files(&'static str),
    /// A row of the filter; the order among all such flags matters.
    Pattern(&'static str),
}

/// Which verbs have a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// `push` and `pull`: what is selected.
    Selection,
    /// `push` and `pull`: how entries are compared and proven.
    Proof,
    /// The same, and `gate`: how copies are tried.
    Trial,
    /// `push`, `pull` and `sync`: what becomes of what the source does not have.
    Removal,
    /// `push` and `pull`: what is preserved.
    Preserve,
    /// `push` and `pull`: how bytes travel.
    Travel,
    /// `push`, `pull` and `sync`: how they go on.
    Watch,
    /// `push` and `pull`: accepted for those who come from other tools.
    OldFingers,
    /// Whatever reaches another machine.
    Connection,
    /// `probe`.
    Probe,
    /// `serve`.
    Serve,
    /// All verbs.
    Output,
}

impl Group {
    /// Its heading in the help.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Selection => "What is copied",
            Self::Proof => "How it is compared and proven",
            Self::Trial => "How copies are tried",
            Self::Removal => "What is deleted",
            Self::Preserve => "What is preserved",
            Self::Travel => "How bytes travel",
            Self::Watch => "How it goes on",
            Self::OldFingers => "Accepted, and without effect",
            Self::Connection => "How machines are reached",
            Self::Probe => "What is measured, and what that may cost",
            Self::Serve => "What is served, where, and to whom",
            Self::Output => "What is printed",
        }
    }
}

impl Flag {
    /// Its name in maps and files: the long one, else the letter.
    pub(crate) fn id(&self) -> String {
        if self.long.is_empty() {
            self.short.map(String::from).unwrap_or_default()
        } else {
            self.long.to_owned()
        }
    }

    /// As it is typed.
    pub(crate) fn typed(&self) -> String {
        if self.long.is_empty() { format!("-{}", self.id()) } else { format!("--{}", self.long) }
    }

    /// The environment variable that says the same; none for what only a command line may say.
    pub(crate) fn variable(&self) -> Option<String> {
        let without = self.long.is_empty() || FLAGS_ONLY.contains(&self.long);
        (!without && !matches!(self.kind, Kind::OldFinger))
            .then(|| format!("XFER_{}", self.long.to_ascii_uppercase().replace('-', "_")))
    }

    /// Whether a configuration file may set it: what belongs to one run alone has no key.
    pub(crate) fn in_files(&self) -> bool {
        let one_run = [
            "dry-run",
            "yes",
            "allow-secrets",
            "receipt",
            "files-from",
            "files-from0",
            "size",
            "events",
            "json",
            "new-token",
            "read-only",
            "token-root",
            "expires",
            "start",
            "backup-dir",
            "detach",
            "deadline",
            "watch",
            "print-onstart",
        ];
        self.variable().is_some() && !one_run.contains(&self.long)
    }

    /// Whether a project's `.xfer.toml` may set it: nothing there may name a command, a machine, a
    /// key or a place to write to, because it comes with somebody's repository.
    pub(crate) fn in_project(&self) -> bool {
        let filters = self.group == Group::Selection && self.in_files();
        let selects = ["copy-links", "settle", "order", "first"];
        filters && !selects.contains(&self.long)
            || ["streams", "bwlimit", "compress", "verify", "proxy-limit"].contains(&self.long)
    }
}

/// The row of a long or short name.
pub(crate) fn find(id: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.id() == id)
}

const fn switch(long: &'static str, group: Group, help: &'static str) -> Flag {
    Flag { long, short: None, kind: Kind::Switch { on: false }, group, help }
}

const fn on(long: &'static str, group: Group, help: &'static str) -> Flag {
    Flag { long, short: None, kind: Kind::Switch { on: true }, group, help }
}

const fn flag(long: &'static str, kind: Kind, group: Group, help: &'static str) -> Flag {
    Flag { long, short: None, kind, group, help }
}

const fn old(long: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag { long, short, kind: Kind::OldFinger, group: Group::OldFingers, help }
}

impl Flag {
    const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }
}

/// What only a command line may say.
const FLAGS_ONLY: &[&str] = &["yes", "allow-secrets", "delete", "max-delete"];

/// Every flag, in the order of the help.
pub(crate) const FLAGS: &[Flag] = &[
    flag(
        "include",
        Kind::Pattern("PATTERN"),
        Group::Selection,
        "Copy what matches, though an earlier pattern excludes it",
    ),
    flag(
        "exclude",
        Kind::Pattern("PATTERN"),
        Group::Selection,
        "Leave out what matches; gitignore's patterns, the last match wins",
    ),
    flag(
        "exclude-from",
        Kind::Pattern("FILE"),
        Group::Selection,
        "Take patterns from FILE, one a line, as in a .gitignore",
    ),
    flag(
        "files-from",
        Kind::File("FILE"),
        Group::Selection,
        "Copy only the paths listed in FILE, one a line; - is standard input",
    ),
    flag(
        "files-from0",
        Kind::File("FILE"),
        Group::Selection,
        "The same, with a NUL byte after each path",
    ),
    switch("gitignore", Group::Selection, "Leave out what .gitignore files exclude"),
    flag(
        "min-size",
        Kind::Value("SIZE", |v| values::size(v).map(drop)),
        Group::Selection,
        "Leave out files smaller than SIZE",
    ),
    flag(
        "max-size",
        Kind::Value("SIZE", |v| values::size(v).map(drop)),
        Group::Selection,
        "Leave out files larger than SIZE",
    ),
    flag(
        "min-age",
        Kind::Value("TIME", |v| values::time(v).map(drop)),
        Group::Selection,
        "Leave out files modified within TIME, or since it",
    ),
    flag(
        "max-age",
        Kind::Value("TIME", |v| values::time(v).map(drop)),
        Group::Selection,
        "Leave out files modified longer ago than TIME, or before it",
    ),
    flag(
        "settle",
        Kind::Value("TIME", |v| values::settle(v).map(drop)),
        Group::Selection,
        "Leave files for later that changed within TIME, or are open for writing (default 0)",
    ),
    flag(
        "order",
        Kind::Value("ORDER", |v| values::order(v).map(drop)),
        Group::Selection,
        "Move the newest or the smallest files first, or by name (default)",
    ),
    flag(
        "first",
        Kind::Values("GLOB", |v| values::first(v).map(drop)),
        Group::Selection,
        "Move files that match GLOB before all others; a name, or with a / a path",
    ),
    switch("copy-links", Group::Selection, "Copy what symbolic links point to, within the source")
        .short('L'),
    switch("dry-run", Group::Proof, "Show what would be done, and do nothing").short('n'),
    switch("checksum", Group::Proof, "Compare entries by content, always").short('c'),
    switch("quick", Group::Proof, "Believe size and modification time where no record exists"),
    switch("size-only", Group::Proof, "Believe the size alone where no record exists"),
    switch("update", Group::Proof, "Leave files alone that are newer at the destination")
        .short('u'),
    switch("ignore-existing", Group::Proof, "Leave alone what exists at the destination"),
    flag(
        "verify",
        Kind::Value("LEVEL", |v| values::verify_level(v).map(drop)),
        Group::Proof,
        "Prove to LEVEL: received, durable (default) or read-back",
    ),
    flag(
        "read-back-from",
        Kind::Value("PLACE", |v| values::place(v).map(drop)),
        Group::Proof,
        "Have a bucket read back by PLACE: here, or a machine; by itself who sends its payload",
    ),
    flag("receipt", Kind::File("FILE"), Group::Proof, "Write the receipt to FILE as well"),
    switch("remote-receipt", Group::Proof, "Leave the receipt at the destination as well"),
    flag(
        "load-check",
        Kind::File("CMD"),
        Group::Trial,
        "Have sh run CMD with each copy on standard input; what it fails on has failed",
    ),
    flag(
        "delete",
        Kind::Optional("WHEN", "after", |v| values::removal_time(v).map(drop)),
        Group::Removal,
        "Delete what the source does not have: after (default) all has arrived, or before",
    ),
    flag(
        "max-delete",
        Kind::Value("N|P%", |v| values::removal_limit(v).map(drop)),
        Group::Removal,
        "Refuse to delete more than N entries, or P% of them (default 50% and 10000)",
    ),
    flag(
        "backup-dir",
        Kind::File("DIR"),
        Group::Removal,
        "Move what is deleted or replaced to DIR below the destination instead",
    ),
    on("times", Group::Preserve, "Do not preserve modification times"),
    switch("xattrs", Group::Preserve, "Preserve extended attributes, access lists among them"),
    switch("acls", Group::Preserve, "Preserve access control lists"),
    switch("owner", Group::Preserve, "Preserve owner, group, setuid and setgid (root only)"),
    flag(
        "chmod",
        Kind::Value("CHANGES", |v| values::chmod(v).map(drop)),
        Group::Preserve,
        "Change permissions, such as D755,F644 or u+rwX,go-w",
    ),
    on("hard-links", Group::Preserve, "Do not preserve hard links"),
    flag("sparse", Kind::OldFinger, Group::Preserve, "Preserve holes, which is always done"),
    switch("devices", Group::Preserve, "Copy devices (root only)"),
    flag(
        "streams",
        Kind::Value("N", |v| values::streams(v).map(drop)),
        Group::Travel,
        "Use N streams, or auto (default)",
    )
    .short('j'),
    flag(
        "bwlimit",
        Kind::Value("RATE", |v| values::rate(v).map(drop)),
        Group::Travel,
        "Send no faster than RATE, such as 100MB/s or 800Mbit/s",
    ),
    flag(
        "compress",
        Kind::Value("HOW", |v| values::compression(v).map(drop)),
        Group::Travel,
        "Compress on the way: auto (default: where it pays), none, zstd or zstd:N",
    ),
    flag(
        "proxy-limit",
        Kind::Value("SIZE", |v| values::size(v).map(drop)),
        Group::Travel,
        "Let SIZE of payload cross a proxy (default 1GB)",
    ),
    flag(
        "max-cost",
        Kind::Value("USD", |v| values::dollars(v).map(drop)),
        Group::Travel,
        "Refuse what would cost more than USD dollars (default: no limit)",
    ),
    flag(
        "deadline",
        Kind::Value("TIME", |v| values::deadline(v).map(drop)),
        Group::Travel,
        "End at TIME, done or not; auto: 5 min before the machine may end",
    ),
    flag(
        "retries",
        Kind::Value("N", |v| values::retries(v).map(drop)),
        Group::Travel,
        "Try again N times (default 10)",
    ),
    switch(
        "detach",
        Group::Travel,
        "Go on without this terminal once there is a plan: see xfer transfers",
    ),
    switch(
        "start",
        Group::Travel,
        "Start a machine of a platform that is stopped, and wait for it",
    ),
    flag(
        "wait-machine",
        Kind::Value("TIME", |v| values::span(v).map(drop)),
        Group::Travel,
        "Wait TIME for a machine of a platform that does not run (default 0)",
    ),
    flag(
        "reserve",
        Kind::Value("SIZE", |v| values::size(v).map(drop)),
        Group::Travel,
        "Leave SIZE free at the destination (default 512MiB)",
    ),
    switch(
        "inplace",
        Group::Travel,
        "Write over what is replaced: no second copy, and no name until it is complete",
    ),
    switch(
        "watch",
        Group::Watch,
        "Go on with what comes later, as soon as it is finished, until stopped",
    ),
    switch(
        "print-onstart",
        Group::Watch,
        "Print a script that starts this watch where a machine starts, and do nothing else",
    ),
    flag(
        "route",
        Kind::Value("ROUTE", |v| values::route(v).map(drop)),
        Group::Connection,
        "Take ROUTE: auto (default), quic, tls, ssh or sftp",
    ),
    flag(
        "data-port",
        Kind::Values("PORT", |v| values::data_port(v).map(drop)),
        Group::Connection,
        "Use the machine's PORT: [HOST:]INSIDE:OUTSIDE/tcp or /udp",
    ),
    flag(
        "via",
        Kind::Value("PLACE", |v| values::place(v).map(drop)),
        Group::Connection,
        "Have files pass PLACE: a bucket, or here between two machines",
    ),
    flag(
        "stall-timeout",
        Kind::Value("TIME", |v| values::timeout(v).map(drop)),
        Group::Connection,
        "Give a silent stream up after TIME (default 30s)",
    ),
    flag(
        "agent-binary",
        Kind::File("FILE"),
        Group::Connection,
        "Run FILE on the far side (default: looked for)",
    ),
    flag(
        "identity",
        Kind::Files("FILE"),
        Group::Connection,
        "Log in with the key in FILE, as ssh -i",
    )
    .short('i'),
    flag(
        "ssh-config",
        Kind::File("FILE"),
        Group::Connection,
        "Read FILE instead of ~/.ssh/config, as ssh -F",
    )
    .short('F'),
    flag(
        "jump",
        Kind::Value("HOST", values::ssh_text),
        Group::Connection,
        "Reach the machine through HOST, as ssh -J",
    )
    .short('J'),
    flag(
        "port",
        Kind::Value("N", |v| values::port(v).map(drop)),
        Group::Connection,
        "Connect to port N, as ssh -p",
    ),
    flag(
        "ssh-option",
        Kind::Values("OPTION", values::ssh_text),
        Group::Connection,
        "Set an option of ssh, as ssh -o",
    )
    .short('o'),
    flag(
        "peer-token-file",
        Kind::File("FILE"),
        Group::Connection,
        "Prove the token in FILE to standing peers (xfer://)",
    ),
    flag(
        "endpoint-url",
        Kind::Value("URL", |v| values::endpoint(v).map(drop)),
        Group::Connection,
        "Find buckets at URL, where another than the store's own server has them",
    ),
    flag(
        "size",
        Kind::Value("SIZE", |v| values::size(v).map(drop)),
        Group::Probe,
        "Tell how long a transfer of SIZE takes",
    ),
    flag(
        "duration",
        Kind::Value("TIME", |v| values::timeout(v).map(drop)),
        Group::Probe,
        "Measure for about TIME in all (default 10s)",
    ),
    flag(
        "max-bytes",
        Kind::Value("SIZE", |v| values::size(v).map(drop)),
        Group::Probe,
        "Move no more than SIZE over links (default 500MB)",
    ),
    flag(
        "listen",
        Kind::Value("ADDR", |v| values::listen(v).map(drop)),
        Group::Serve,
        "Listen at ADDR:PORT, by TCP and UDP; :PORT is every address",
    ),
    flag(
        "token-file",
        Kind::File("FILE"),
        Group::Serve,
        "Let in whose tokens FILE lists; made with a first token where it is missing",
    ),
    flag(
        "root",
        Kind::Files("NAME=PATH"),
        Group::Serve,
        "Serve the directory PATH as xfer://HOST:PORT/NAME; repeatable",
    ),
    switch("new-token", Group::Serve, "Add a token to the file, print it once, and end"),
    switch("read-only", Group::Serve, "Of a new token: it may not write"),
    flag(
        "token-root",
        Kind::Values("NAME", |v| values::root_name(v).map(drop)),
        Group::Serve,
        "Of a new token: it reaches the root NAME alone; repeatable",
    ),
    flag(
        "expires",
        Kind::Value("TIME", |v| values::time(v).map(drop)),
        Group::Serve,
        "Of a new token: it is worth nothing after TIME (default never)",
    ),
    switch(
        "allow-secrets",
        Group::Selection,
        "Send files that open accounts to a rented machine too",
    ),
    switch("yes", Group::Output, "Ask nothing"),
    switch("json", Group::Output, "Print events as NDJSON on standard output"),
    flag("events", Kind::File("FILE"), Group::Output, "Write events as NDJSON to FILE"),
    flag("metrics", Kind::File("FILE"), Group::Output, "Write numbers for Prometheus to FILE"),
    flag("quiet", Kind::Count, Group::Output, "Print errors only").short('q'),
    flag("verbose", Kind::Count, Group::Output, "Print each entry; twice: decisions too")
        .short('v'),
    flag(
        "color",
        Kind::Value("WHEN", |v| values::color(v).map(drop)),
        Group::Output,
        "Colour: auto (default), always or never",
    ),
    flag(
        "log-file",
        Kind::File("FILE"),
        Group::Output,
        "Append what is printed to FILE, with the time",
    ),
    old("archive", Some('a'), "What rsync -a asks for is the default"),
    old("recursive", Some('r'), "Directories are copied whole"),
    old("", Some('P'), "Partial files are kept and progress is shown"),
    old("partial", None, "Partial files are kept"),
    old("progress", None, "Progress is shown on a terminal"),
    old("", Some('z'), "The same as --compress auto, the default"),
    old("human-readable", Some('h'), "Sizes are shown for people anyway"),
];

/// Long flags of the contract that a later version brings.
pub(crate) const LATER_FLAGS: &[&str] = &["allow-keys-on-agent"];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_used_once() {
        let mut names = HashSet::new();
        for flag in FLAGS {
            assert!(names.insert(flag.id()), "{}", flag.typed());
            let letter = flag.short.filter(|_| !flag.long.is_empty());
            assert!(letter.is_none_or(|letter| names.insert(letter.into())), "{}", flag.typed());
            assert!(!LATER_FLAGS.contains(&flag.long), "{}", flag.typed());
        }
    }

    #[test]
    fn a_project_can_set_only_what_harms_nobody() {
        let set: Vec<_> = FLAGS.iter().filter(|f| f.in_project()).map(Flag::id).collect();
        assert_eq!(
            set,
            [
                "include",
                "exclude",
                "exclude-from",
                "gitignore",
                "min-size",
                "max-size",
                "min-age",
                "max-age",
                "verify",
                "streams",
                "bwlimit",
                "compress",
                "proxy-limit"
            ]
        );
    }

    #[test]
    fn twins_are_spelled_alike() {
        let twin = |id| find(id).and_then(Flag::variable);
        assert_eq!(twin("min-size").as_deref(), Some("XFER_MIN_SIZE"));
        assert_eq!(twin("yes"), None);
    }
}
