//! Two trees, flags, and what comes of them

/// What stands at the destination in the end
pub(crate) enum After {
    /// What rsync finds equal to the source
    Equal,
    /// What rsync makes of the same trees with these flags
    AsRsync(&'static [&'static str]),
    /// The very entries that stood there before, with all their metadata
    Untouched,
    /// These
    Tree(&'static [&'static str]),
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) source: &'static [&'static str],
    pub(crate) there: &'static [&'static str],
    pub(crate) flags: &'static [&'static str],
    pub(crate) code: i32,
    pub(crate) reason: Option<&'static str>,
    pub(crate) after: After,
}

use After::{AsRsync, Equal, Tree, Untouched};

type Lines = &'static [&'static str];

const fn row(name: &'static str, source: Lines, there: Lines, flags: Lines, after: After) -> Row {
    Row { name, source, there, flags, code: 0, reason: None, after }
}

const fn refused(
    name: &'static str,
    source: Lines,
    there: Lines,
    flags: Lines,
    (code, reason): (i32, &'static str),
) -> Row {
    Row { name, source, there, flags, code, reason: Some(reason), after: Untouched }
}

/// Any number but all of them
const MANY: Lines = &["--delete", "--max-delete", "100"];
const FIRST: Lines = &["--delete=before", "--max-delete", "100"];
const PLAIN: Lines = &["-aHc", "--delete"];

pub(crate) const ROWS: &[Row] = &[
    row("nothing there", &["a=1", "d/f=2"], &[], &["--delete"], Equal),
    row("equal already", &["a=1", "d/f=2"], &["a=1", "d/f=2"], &["--delete"], Equal),
    row("without --delete all stays", &["a=1"], &["b=2", "d/c=3"], &[], AsRsync(&["-aHc"])),
    row("one too many", &["a=1"], &["a=1", "b=2"], &["--delete"], Equal),
    row("one too many, first", &["a=1"], &["a=1", "b=2"], &["--delete=before"], Equal),
    row("after is the default", &["a=1"], &["a=1", "b=2"], &["--delete=after"], AsRsync(PLAIN)),
    row("changed and too many", &["a=new", "b=2"], &["a=old", "b=2", "c=3"], &["--delete"], Equal),
    row(
        "whole directories go",
        &["a=1"],
        &["a=1", "d/=", "d/e/f=1", "d/e/g/h=2", "d/i=3"],
        MANY,
        Equal,
    ),
    row("an empty directory goes", &["a=1", "b=2"], &["a=1", "b=2", "d/="], MANY, Equal),
    row("an empty directory stays", &["a=1", "d/="], &["a=1", "d/=", "d/x=1"], MANY, Equal),
    row("deep below what stays", &["d/e/f=1"], &["d/e/f=1", "d/e/old/x=1"], MANY, Equal),
    row(
        "names around one another",
        &["a-b=1", "a/c=1", "a.b=1", "ab=1"],
        &["a-b=1", "a/c=1", "a/d=1", "a.b=1", "a.c=1", "a0=1", "ab=1", "a-0=1"],
        MANY,
        Equal,
    ),
    row("a renamed file", &["a=1", "new=2"], &["a=1", "old=2"], &["--delete"], Equal),
    row("a link goes, not what it leads to", &["d/f=1"], &["d/f=1", "l->d"], MANY, Equal),
    row("a dangling link goes", &["a=1", "b=1"], &["a=1", "b=1", "l->nowhere"], MANY, Equal),
    row("a link changes", &["l->new", "a=1"], &["l->old", "a=1", "b=1"], MANY, Equal),
    row("a link in the place of a file", &["l->a", "a=1"], &["l=x", "a=1", "b=1"], MANY, Equal),
    row("a file in the place of a link", &["l=x", "a=1"], &["l->a", "a=1", "b=1"], MANY, Equal),
    row("a link to a directory is not entered", &["d=x", "e/f=1"], &["d->e", "e/f=1"], MANY, Equal),
    row(
        "a directory in the place of a link to one",
        &["d/f=1", "e/g=1"],
        &["d->e", "e/g=1", "e/h=1"],
        MANY,
        Equal,
    ),
    row("a file in the place of a directory", &["d=x", "a=1"], &["d/e/f=1", "a=1"], MANY, Equal),
    row("the same, first", &["d=x", "a=1"], &["d/e/f=1", "a=1"], FIRST, Equal),
    row("a directory in the place of a file", &["d/e/f=1", "a=1"], &["d=x", "a=1"], MANY, Equal),
    row("the same, first, with more", &["d/e=1", "a=1"], &["d=x", "a=1", "b=1"], FIRST, Equal),
    row(
        "both ways at once",
        &["a/f=1", "b=x", "c=1"],
        &["a=x", "b/f=1", "b/g/h=1", "c=1"],
        MANY,
        Equal,
    ),
    row("one of two names goes", &["a=1", "b=2"], &["a=1", "b=2", "c==a"], MANY, Equal),
    row("two names of one file go", &["a=1"], &["a=1", "c=3", "d==c", "e==c"], MANY, Equal),
    row("names are joined", &["a=1", "b==a"], &["a=1", "b=1", "c=2"], MANY, Equal),
    row("names are parted", &["a=1", "b=2"], &["a=1", "b==a", "c==a"], MANY, Equal),
    row(
        "what is excluded stays",
        &["a=1", "b.log=1"],
        &["a=1", "c.log=2", "d/e.log=3", "d/f=4", "g=5"],
        &["--delete", "--max-delete", "100", "--exclude", "*.log"],
        AsRsync(&["-aHc", "--delete", "--exclude", "*.log"]),
    ),
    row(
        "an excluded directory stays whole",
        &["a=1", "cache/x=1"],
        &["a=1", "cache/y=2", "b=1"],
        &["--delete", "--exclude", "cache/"],
        AsRsync(&["-aHc", "--delete", "--exclude", "cache/"]),
    ),
    row(
        "an excluded entry of the source is not what stands there",
        &["a=1", "x=new"],
        &["a=1", "x=old", "y=1"],
        &["--delete", "--exclude", "x"],
        AsRsync(&["-aHc", "--delete", "--exclude", "x"]),
    ),
    row(
        "what is included goes",
        &["a=1", "b=1"],
        &["a=1", "b=1", "c.log=2", "d.log=3"],
        &["--delete", "--exclude", "*.log", "--include", "c.log"],
        Tree(&["a=1", "b=1", "d.log=3"]),
    ),
    row(
        "an ignore file of the source speaks of both sides",
        &["a=1", ".xferignore=*.tmp\n"],
        &["a=1", "x.tmp=1", "d/y.tmp=1", "d/z=1"],
        MANY,
        Tree(&["a=1", ".xferignore=*.tmp\n", "x.tmp=1", "d/y.tmp=1"]),
    ),
    row(
        "an ignore file that is left out itself does too",
        &["a=1", "d/.xferignore=.xferignore\nz\n", "d/b=1"],
        &["a=1", "d/b=1", "d/z=1", "z=1"],
        MANY,
        Tree(&["a=1", "d/b=1", "d/z=1"]),
    ),
    row(
        "git's ignore files are asked for",
        &["a=1", ".gitignore=*.o\n"],
        &["a=1", "x.o=1", "y=1"],
        &["--delete", "--max-delete", "100", "--gitignore"],
        Tree(&["a=1", ".gitignore=*.o\n", "x.o=1"]),
    ),
    row(
        "and mean nothing otherwise",
        &["a=1", ".gitignore=*.o\n"],
        &["a=1", "x.o=1", "y=1"],
        MANY,
        Equal,
    ),
    row(
        "what is too large to be copied stays",
        &["a=1"],
        &["a=1", "big=0123456789", "b=1"],
        &["--delete", "--max-delete", "100", "--max-size", "5"],
        Tree(&["a=1", "big=0123456789"]),
    ),
    row(
        "our own stays",
        &["a=1"],
        &["a=1", ".xfer-receipts/old.ndjson=1", "b=1"],
        MANY,
        Tree(&["a=1", ".xfer-receipts/old.ndjson=1"]),
    ),
    row(
        "what a killed one left goes",
        &["a=1", "d/l->a"],
        &[
            "a=1",
            ".xfer-partial-0123456789abcdef0123456789abcdef=0",
            "d/.xfer-partial-0123456789abcdef0123456789abcdef->a",
        ],
        &["--delete"],
        Equal,
    ),
    row(
        "what goes is kept",
        &["a=1"],
        &["a=1", "b=2", "d/c=3"],
        &["--delete", "--max-delete", "100", "--backup-dir", "old/kept"],
        Tree(&["a=1", "old/kept/b=2", "old/kept/d/c=3"]),
    ),
    row(
        "what is replaced is kept",
        &["a=new", "b=1", "l->x"],
        &["a=old", "b=1", "l->y", "c=1"],
        &["--backup-dir", "old"],
        Tree(&["a=new", "b=1", "l->x", "c=1", "old/a=old", "old/l->y"]),
    ),
    row(
        "what was kept before is replaced, and else left alone",
        &["a=new", "b=1"],
        &["a=old", "b=1", "gone=2", "old/a=older", "old/other=1"],
        &["--delete", "--backup-dir", "old/"],
        Tree(&["a=new", "b=1", "old/a=old", "old/gone=2", "old/other=1"]),
    ),
    row(
        "a directory that makes way is kept",
        &["d=x", "a=1"],
        &["d/e=1", "a=1"],
        &["--delete", "--max-delete", "9", "--backup-dir", "old"],
        Tree(&["d=x", "a=1", "old/d/e=1"]),
    ),
    row(
        "what exists is left alone",
        &["a@5=new", "b=1", "l->x", "d/f=1", "d/g=1"],
        &["a@1=old", "l->y", "d/g=other", "e=1"],
        &["--ignore-existing"],
        AsRsync(&["-aH", "--ignore-existing"]),
    ),
    row(
        "what exists is left alone, and the rest goes",
        &["a=new", "b=1", "d/g=1"],
        &["a=old", "d/g=other", "d/h=1", "e=1", "a0=1"],
        &["--ignore-existing", "--delete", "--max-delete", "100"],
        AsRsync(&["-aH", "--ignore-existing", "--delete"]),
    ),
    row(
        "a directory that is left alone is left whole",
        &["a=1", "e=2", "f=1"],
        &["a=1", "e/g=1", "e/h/i=1", "e0=1"],
        &["--ignore-existing", "--delete", "--max-delete", "100"],
        AsRsync(&["-aH", "--ignore-existing", "--delete"]),
    ),
    Row {
        name: "what is left alone in the place of a directory",
        source: &["a=1", "d/f=1"],
        there: &["b=1", "d=x"],
        flags: &["--ignore-existing", "--delete", "--max-delete", "100"],
        code: 5,
        reason: None,
        after: Tree(&["a=1", "b=1", "d=x"]),
    },
    row(
        "newer files are left alone",
        &["a@5=new", "b@5=new", "c@5=newer", "d@5=x", "l->x", "e/f@5=1"],
        &["a@9=old", "b@1=old", "c@5=old", "l->y", "e/f@6=2", "g@9=1"],
        &["-u"],
        AsRsync(&["-aHu"]),
    ),
    row(
        "newer files are left alone, and the rest goes",
        &["a@5=new", "b@5=new", "e/f@5=1"],
        &["a@9=old", "b@1=old", "c@9=1", "e/f@6=2", "e/g@9=1"],
        &["--update", "--delete", "--max-delete", "100"],
        AsRsync(&["-aHu", "--delete"]),
    ),
    row(
        "a newer directory in the place of a file goes",
        &["a@5=new", "d@5=x"],
        &["a@1=old", "d/e@9=1"],
        &["--update", "--delete", "--max-delete", "100"],
        AsRsync(&["-aHu", "--delete"]),
    ),
    row(
        "files of one size are taken for equal",
        &["a@5=new", "b@5=longer", "c@5=1", "d/e@5=1"],
        &["a@9=old", "b@9=old", "d/e@1=2"],
        &["--size-only"],
        AsRsync(&["-aH", "--size-only"]),
    ),
    row(
        "what exists and is too new counts once",
        &["a@5=new", "b@5=new"],
        &["a@1=old", "b@9=old"],
        &["-u", "--ignore-existing"],
        AsRsync(&["-aHu", "--ignore-existing"]),
    ),
    refused("too many", &["a=1"], &["a=1", "b=1", "c=1"], &["--delete"], (17, "max-delete")),
    refused(
        "too many, first",
        &["a=1"],
        &["a=1", "b=1", "c=1"],
        &["--delete=before"],
        (17, "max-delete"),
    ),
    refused(
        "more than were said",
        &["a=2"],
        &["a=1", "b=1"],
        &["--delete", "--max-delete=0"],
        (17, "max-delete"),
    ),
    refused("all of it", &["new=1"], &["a=1", "b=1"], MANY, (17, "max-delete")),
    refused("an empty source", &[], &["a=1", "b=1"], MANY, (17, "source-empty")),
    refused(
        "all is excluded",
        &["x=1"],
        &["a=1", "b=1"],
        &["--delete", "--max-delete=9", "--exclude", "x"],
        (17, "source-empty"),
    ),
    refused(
        "no limit",
        &["a=1"],
        &["a=1"],
        &["--delete", "--max-delete", "101%"],
        (2, "bad-value"),
    ),
    refused("no time", &["a=1"], &["a=1"], &["--delete=during"], (2, "bad-value")),
    refused(
        "a limit of nothing",
        &["a=1"],
        &["a=1"],
        &["--max-delete", "5"],
        (2, "flags-conflict"),
    ),
    refused(
        "compared and not compared",
        &["a=1"],
        &["a=2"],
        &["--checksum", "--size-only"],
        (2, "flags-conflict"),
    ),
    refused(
        "left alone by way of a bucket",
        &["a=1"],
        &["a=2"],
        &["-u", "--via", "s3://bucket/x"],
        (2, "flags-conflict"),
    ),
    refused(
        "kept elsewhere",
        &["a=1"],
        &["a=1"],
        &["--delete", "--backup-dir", "../x"],
        (2, "bad-value"),
    ),
    refused(
        "kept at the top",
        &["a=1"],
        &["a=1"],
        &["--delete", "--backup-dir", "/tmp"],
        (2, "bad-value"),
    ),
];
