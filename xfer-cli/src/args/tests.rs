//! Command lines and what they are understood as.

use std::ffi::OsString;

use super::*;

#[test]
fn operands_and_flags_mix() {
    let invocation = parsed("push -a a b/ -j 4 h:c --no-times --json");
    let Verb::Copy { copying: Copying::Push, sources, destination } = &invocation.verb else {
        panic!()
    };
    assert_eq!(sources.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b/"]);
    assert_eq!(destination.to_string(), "h:c");
    let values = &invocation.typed.values;
    assert_eq!(values["streams"], ["4"]);
    assert_eq!(values["times"], ["false"]);
    assert_eq!(values["json"], ["true"]);
    assert!(!values.contains_key("archive") && !values.contains_key("quick"));
}

#[test]
fn names_are_bytes_and_dashes_end_the_flags() {
    use std::os::unix::ffi::OsStringExt;
    let words =
        [b"xfer".to_vec(), b"push".to_vec(), b"--".to_vec(), b"-rf\xff".to_vec(), b"-n".to_vec()];
    let words: Vec<_> = words.into_iter().map(OsString::from_vec).collect();
    let Verb::Copy { sources, destination, .. } = parse(&words).unwrap().verb else { panic!() };
    assert_eq!(sources[0].path, b"-rf\xff");
    assert_eq!(destination.path, b"-n");
}

#[test]
fn a_day_without_work_makes_an_upload_stale() {
    let stale = |line: &str| match parsed(line).verb {
        Verb::Uploads { stale, .. } => stale.map(|stale| stale.as_secs()),
        verb => panic!("{verb:?}"),
    };
    assert_eq!(stale("ls --uploads s3://bucket"), None);
    assert_eq!(stale("ls --uploads --abort-stale s3://bucket"), Some(86_400));
    assert_eq!(stale("ls s3://bucket --abort-stale=90s --uploads"), Some(90));
}

#[test]
fn patterns_keep_their_order() {
    let typed = parsed("push --exclude a --include b --exclude-from f --exclude c s d").typed;
    let rows: Vec<_> =
        typed.patterns.iter().map(|row| (row.flag, row.value.to_str().unwrap())).collect();
    assert_eq!(rows, [("exclude", "a"), ("include", "b"), ("exclude-from", "f"), ("exclude", "c")]);
}

#[test]
fn the_later_of_a_switch_and_its_opposite_wins() {
    assert_eq!(parsed("push --xattrs --no-xattrs a b").typed.values["xattrs"], ["false"]);
    assert_eq!(parsed("push --no-times --times a b").typed.values["times"], ["true"]);
}

#[test]
fn refusals_say_what_and_what_next() {
    for (line, reason, what, next) in [
        ("", "no-verb", "no verb was given", "--help"),
        ("psuh a b", "unknown-verb", "unknown verb psuh", "push"),
        ("push a", "missing-operand", "destination", "--help"),
        ("push", "missing-operand", "missing", "--help"),
        ("verify a", "missing-operand", "--against", "--help"),
        ("ls --abort-stale s3://bucket/a", "missing-operand", "--uploads", "--help"),
        ("ls --uploads --abort-stale=1 s3://bucket/a", "bad-value", "a span of time", "--help"),
        ("ls --uploads host:a", "not-a-store", "host:a has no uploads", "s3://BUCKET"),
        ("push --strems 4 a b", "unknown-flag", "--strems", "--streams"),
        ("push --streams 0 a b", "bad-value", "--streams 0: expected", "--help"),
        ("push --streams -1 a b", "bad-value", "--streams -1: expected", "--help"),
        ("push --bwlimit 100 a b", "bad-value", "--bwlimit 100: expected a rate", "--help"),
        ("push --json --json a b", "flags-conflict", "--json was given twice", "--help"),
        ("push -j 1 -j 2 a b", "flags-conflict", "--streams was given twice", "--help"),
        (
            "push --allow-keys-on-agent a b",
            "not-in-this-version",
            "--allow-keys-on-agent is",
            "--help",
        ),
        ("push --deadline=soon a b", "bad-value", "--deadline soon: expected auto", "--help"),
        ("sync --delete=x a b", "bad-value", "--delete x: expected", "--help"),
        ("receipt show --allow-keys-on-agent b", "not-in-this-version", "--allow-keys", "--help"),
        ("receipt burn a", "unknown-verb", "unknown verb receipt burn", "xfer receipt --help"),
        ("ls a b", "extra-operand", "b is one operand too many", "xfer ls --help"),
        ("man b", "extra-operand", "b is one operand too many", "--help"),
        ("ls a https://h/x?s=sesame@b", "extra-operand", "https://h/x?*** is one", "ls --help"),
        ("https://h/x?s=sesame@b a", "unknown-verb", "unknown verb https://h/x?***", "verb"),
        ("--json push a b", "no-verb", "--json stands before", "the verb comes first"),
        ("-v push a b", "no-verb", "-v stands before", "the verb comes first"),
        ("push --no-recursive a b", "unknown-flag", "--no-recursive", "--exclude '*/'"),
        ("push --api-key=sesame a b", "secret-in-arguments", "--api-key is refused", "key file"),
        ("push --api-key sesame a b", "secret-in-arguments", "--api-key is refused", "key file"),
        ("push --json=yes a b", "bad-value", "--json", "--help"),
        ("push a s3://b//k", "bad-bucket", "s3://b//k", "s3://BUCKET"),
        ("push a s3://bucket//k", "bad-key", "s3://bucket//k", "no //"),
        ("push a rclone:r/p", "bad-remote", "rclone:r/p", "rclone listremotes"),
        ("push a s3://k:sesame@bucket/x", "password-in-location", "***", "AWS_ACCESS_KEY_ID"),
        ("push --endpoint-url https://k:sesame@h a b", "bad-value", "--endpoint-url: ", "--help"),
        ("push a u:pw@h:p", "password-in-location", "***", "key"),
        ("sync --delete before a b", "extra-operand", "one source", "push"),
        ("sync --max-delete 101% a b", "bad-value", "--max-delete 101%", "--help"),
        ("sync a", "missing-operand", "destination", "xfer sync"),
        ("completions tcsh", "bad-value", "tcsh", "--help"),
        ("push --route lan a b", "bad-value", "not in this version", "--help"),
        ("ls --dry-run a", "unknown-flag", "--dry-run", "--help"),
    ] {
        let words: Vec<OsString> = words(line);
        let error = parse(&words).expect_err(line);
        assert_eq!((error.class.code(), error.reason), (2, reason), "{line}: {error:?}");
        assert!(error.what.contains(what), "{line}: {}", error.what);
        assert!(error.remedies.iter().any(|r| r.text.contains(next)), "{line}: {error:?}");
        assert!(!error.render().contains("sesame"), "{line}");
    }
}

/// `-h` is help where nothing is to be copied, and else rsync's wish for sizes that people read.
#[test]
fn h_is_rsyncs_among_locations() {
    for line in ["push -avh a b", "push -h a b", "pull a b -h", "push --human-readable a b"] {
        assert!(matches!(parsed(line).verb, Verb::Copy { .. }), "{line}");
    }
    for line in ["push -h", "push --help a b", "help push", "help", "-h", "ls -h", "help receipt"] {
        let Verb::Text(text) = parsed(line).verb else { panic!("{line}") };
        assert!(text.contains("Usage: xfer") && !text.contains("xfer version 0"), "{line}: {text}");
    }
    for line in ["push --version", "-V", "ls -V", "receipt show --version"] {
        let Verb::Text(text) = parsed(line).verb else { panic!("{line}") };
        assert_eq!(text, format!("xfer {}\n", env!("CARGO_PKG_VERSION")), "{line}");
    }
}

#[test]
fn whatever_is_no_value_has_an_opposite() {
    for flag in FLAGS.iter().filter(|flag| !["", "recursive"].contains(&flag.long)) {
        let line = match flag.group {
            flags::Group::Serve => format!("serve --no-{}", flag.long),
            _ => format!("push --no-{} a b", flag.long),
        };
        match flag.kind {
            Kind::Switch { .. } | Kind::Count | Kind::OldFinger => drop(parsed(&line)),
            _ => assert!(parse(&words(&line)).is_err(), "{line}"),
        }
    }
    assert_eq!(parsed("push -vv --no-verbose a b").typed.values["verbose"], ["0"]);
    assert_eq!(parsed("push --no-progress a b").typed.values["progress"], ["false"]);
}

#[test]
fn every_later_flag_is_refused_as_such() {
    for flag in flags::LATER_FLAGS {
        let error = parse(&words(&format!("push --{flag} a b"))).expect_err(flag);
        assert_eq!(error.reason, "not-in-this-version", "{flag}");
    }
}

#[test]
fn control_characters_never_come_back() {
    for word in ["--\x1b[2J", "-\x07", "--streams=\x1b]52;c;x\x07", "a\nb:c\x1b"] {
        let words: Vec<OsString> =
            ["xfer", "push", word, "a", "b"].into_iter().map(Into::into).collect();
        let text = parse(&words).expect_err(word).render();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.lines().count() <= 4, "{text:?}");
    }
}

fn words(line: &str) -> Vec<OsString> {
    std::iter::once("xfer").chain(line.split_whitespace()).map(OsString::from).collect()
}

fn parsed(line: &str) -> Invocation {
    parse(&words(line)).unwrap()
}
