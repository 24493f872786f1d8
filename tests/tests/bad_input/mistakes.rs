//! What people type when they err, and the words that help them on
//!
//! These are not rows of a list: each says what its message must say.

use crate::place::Place;

/// What is typed, the exit code, and what the message says
type Mistake<'a> = (&'a [&'a str], i32, &'a [&'a str]);

const MISTAKES: &[Mistake<'_>] = &[
    (&["@s", "@d"], 2, &["unknown verb", "the verb comes first: xfer push"]),
    (&["s", "d"], 2, &["unknown verb s", "the verb comes first: xfer push"]),
    (&["cp", "@s", "@d"], 2, &["did you mean push?"]),
    (&["download", "h:x", "@d"], 2, &["did you mean pull?"]),
    (&["pusch", "@s", "@d"], 2, &["did you mean push?"]),
    (&["push"], 2, &["source and destination are missing", "xfer push --help"]),
    (&["push", "@s"], 2, &["a destination is missing", "xfer push SOURCE... DESTINATION"]),
    (&["pull", "h:x"], 2, &["a destination is missing", "xfer pull SOURCE... DESTINATION"]),
    (&["push", "@s/fiel", "@d"], 4, &["s/fiel: no such file", "spelling"]),
    (&["push", "*.txt", "@d"], 4, &["*.txt: no such file", "expanded by the shell"]),
    (&["push", "@s", "@d", "--exlude", "x"], 2, &["--exlude", "did you mean --exclude?"]),
    (&["push", "-p", "22", "@s", "@d"], 2, &["unknown flag -p", "--port N"]),
    (&["push", "-e", "ssh -p 22", "@s", "@d"], 2, &["unknown flag -e", "--port"]),
    (&["push", "-e", "ssh", "@s", "h:x"], 2, &["ssh is what is used"]),
    (&["push", "@s", "@file"], 2, &["file is a file", "name a directory"]),
    (
        &["push", "@s", "@file/"],
        2,
        &["file/ cannot be opened as a directory: a file is in the way"],
    ),
    (&["push", "@file", "@s/file/x"], 2, &["s/file/x", "a file is in the way", "each part"]),
    (&["push", "@s", "@s"], 2, &["lies inside the source", "outside of the source"]),
    (&["push", "@s/file", "@s"], 2, &["is source and destination", "another destination"]),
    (&["push", "@s/file", "@copy/file", "@d"], 2, &["two sources are called file"]),
    (&["pull", "@s", "h:x"], 2, &["h:x is not on this machine", "use xfer push"]),
    (&["push", "@s", "h::module/x"], 2, &["one : stands between", "rsync's HOST::MODULE"]),
    (&["push", "@s", "::1:/x"], 2, &["IPv6", "[ADDRESS]:path"]),
    (&["push", "@s", "[::1]/x"], 2, &["brackets", "[ADDRESS]:path"]),
    (&["push", "@s", "ssh://h:22:/x"], 2, &["a port is a number", "--port 22"]),
    (&["push", "@s", "u:sesame@h:x"], 2, &["must not hold a password", "keys"]),
    (&["push", "@s", "root@:/x"], 2, &["a host is missing", "HOST:path"]),
    (&["push", "@s", "h:~bob/x"], 2, &["another user's home", "absolute path"]),
    (&["push", "@s", "s3://b/k"], 2, &["no bucket there has such a name", "s3://BUCKET/PATH"]),
    (&["push", "@s", "hf://o/m"], 2, &["hf://o/m/ can only be read", "s3://"]),
    (&["push", "@s", "rclone:r/p"], 2, &["that names no remote of rclone's"]),
    (&["push", "--bwlimit", "1.5GB", "@s", "@d"], 2, &["--bwlimit 1.5GB", "100MB/s"]),
    (&["push", "--max-size", "1,5GB", "@s", "@d"], 2, &["--max-size 1,5GB", "1.5GB"]),
    (&["push", "--max-size", "10g", "@s", "@d"], 2, &["--max-size 10g", "500MB"]),
    (&["push", "--min-age", "yesterday", "@s", "@d"], 2, &["--min-age yesterday", "90s"]),
    (&["push", "-j", "many", "@s", "@d"], 2, &["--streams many", "1 to 64", "xfer push --help"]),
    (&["push", "--verify", "full", "@s", "@d"], 2, &["received, durable or read-back"]),
    (&["push", "--exclude", "[", "@s", "@d"], 2, &["pattern [", "man gitignore"]),
    (
        &["push", "--files-from", "lsit", "@s", "@d"],
        3,
        &["lsit: there is no such file", "spelling"],
    ),
    (
        &["push", "--files-from", "@fifo", "@s", "@d"],
        3,
        &["not a regular file", "- for standard input"],
    ),
    (
        &["push", "--receipt", "/nonexistent/r", "@s", "@d"],
        3,
        &["/nonexistent/r", "--receipt FILE"],
    ),
    (&["verify", "@d"], 2, &["--against is missing", "xfer verify --help"]),
    (
        &["verify", "@d", "--against", "@file"],
        14,
        &["neither a receipt nor a manifest", "file:///"],
    ),
    (&["receipt", "show", "@file"], 14, &["no receipt", "--receipt"]),
    (&["ls", "@s/nope"], 4, &["s/nope: no such file", "spelling"]),
    (&["completions", "csh"], 2, &["bash", "zsh"]),
];

#[test]
fn a_mistake_is_named_and_a_way_on_is_shown() {
    for (words, code, says) in MISTAKES {
        let place = Place::new();
        let ended = place.xfer.run(place.words(words));
        let told = &ended.stderr;
        assert_eq!(ended.code(), *code, "{words:?}: {told}");
        for word in *says {
            assert!(told.contains(word), "{words:?}: no {word:?} in\n{told}");
        }
        let last = told.lines().last().unwrap_or_default();
        assert!(last.starts_with(&format!("  exit {code} ")), "{words:?}: {told}");
        let advises = told.contains("\n  next  ") || told.contains("\n  do one of ");
        assert!(advises, "{words:?}: no way on in\n{told}");
        // A call of the system or its number alone helps nobody.
        assert!(!told.contains(": .: "), "{words:?}: {told}");
        place.is_untouched("mistake");
    }
}
