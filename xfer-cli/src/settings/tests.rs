//! Which layer decides, and what a layer may say.
#![expect(clippy::disallowed_methods, reason = "tests write their own configuration files")]

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use xfer_core::options::Compression;
use xfer_protocol::manifest::Timestamp;

use super::layers::Origin;
use super::*;
use crate::args;

#[test]
fn the_nearer_layer_decides() {
    let place = Place::new();
    place.system("streams = 1\nretries = 1\nverify = 'received'\nreserve = '1MB'\nxattrs = true");
    place.user("streams = 2\nretries = 2\nverify = 'read-back'\nxattrs = false");
    place.project("streams = 3\nverify = 'durable'");
    let merged = place.merge(&[("XFER_STREAMS", "4")], "-j 5").unwrap();
    let rows: HashMap<_, _> = merged.rows().into_iter().map(|(k, v, o)| (k, (v, o))).collect();
    assert_eq!(rows["streams"], ("5".into(), Some(Origin::Flag)));
    assert_eq!(rows["retries"].0, "2");
    assert_eq!(rows["verify"].0, "durable");
    assert_eq!(rows["reserve"].0, "1MB");
    assert_eq!(rows["xattrs"].0, "false");
    assert_eq!(rows["route"], ("auto".into(), None));
    let merged = place.merge(&[("XFER_STREAMS", "4")], "").unwrap();
    assert_eq!(merged.value("streams", values::streams).unwrap().flatten().unwrap().get(), 4);
}

#[test]
fn what_rsync_users_type_asks_for_compression() {
    let place = Place::new();
    place.project("compress = 'none'");
    let compression = |arguments: &str| {
        let merged = place.merge(&[], arguments).unwrap();
        merged.value("compress", values::compression).unwrap()
    };
    assert_eq!(compression(""), Some(Compression::Never));
    assert_eq!(compression("-z"), Some(Compression::Auto));
    assert_eq!(compression("-z --compress zstd:7"), Some(Compression::Level(7)));
}

#[test]
fn patterns_add_up_and_the_flags_come_last() {
    let place = Place::new();
    place.user("exclude = ['user']");
    place.project("exclude = ['project']\ninclude = ['kept']");
    let merged = place.merge(&[("XFER_EXCLUDE", "one\ntwo")], "--include flag").unwrap();
    let rows: Vec<_> = merged.patterns().map(|row| row.value.to_str().unwrap()).collect();
    assert_eq!(rows, ["user", "project", "kept", "one", "two", "flag"]);
}

#[test]
fn a_project_may_not_name_commands_keys_or_machines() {
    for text in [
        "agent-binary = '/tmp/x'",
        "identity = ['k']",
        "ssh-option = ['ProxyCommand=id']",
        "ssh-config = 'c'",
        "jump = 'h'",
        "log-file = 'f'",
        "copy-links = true",
    ] {
        let place = Place::new();
        place.project(text);
        let error = place.merge(&[], "").unwrap_err();
        assert_eq!((error.class.code(), error.reason), (3, "config-forbidden-key"), "{text}");
        let key = text.split(' ').next().unwrap();
        assert!(error.what.contains(key), "{}", error.what);
    }
}

#[test]
fn files_that_cannot_be_understood() {
    for text in [
        "streams = 0",
        "streams = 'x'",
        "streams = [1]",
        "streams = 1.5",
        "xattrs = 'yes'",
        "no-such-key = 1",
        "dry-run = true",
        "receipt = 'r'",
        "yes = true",
        "streams = ",
        "\u{0}",
        "[section]\nstreams = 1",
        "verify = 'a\\u001bb'",
    ] {
        let place = Place::new();
        place.user(text);
        let error = place.merge(&[], "").unwrap_err();
        assert_eq!(error.class.code(), 3, "{text}");
        assert!(!error.render().contains('\x1b'));
    }
    let place = Place::new();
    place.user("streams = 1");
    let path = place.path("config/xfer/config.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(place.merge(&[], "").unwrap_err().reason, "config-exposed");
    let named = [("XFER_CONFIG", "/nonexistent/x")];
    assert_eq!(place.merge(&named, "").unwrap_err().reason, "config-missing");
}

#[test]
fn the_environment_is_judged_like_flags() {
    let place = Place::new();
    let merged = place.merge(&[("XFER_NO_TIMES", "1"), ("XFER_JSON", "true")], "").unwrap();
    assert!(!merged.switch("times", true));
    assert!(merged.switch("json", false));
    let merged = place.merge(&[("XFER_NO_TIMES", "1")], "--times").unwrap();
    assert!(merged.switch("times", false));
    for (name, value) in [("XFER_STREAMS", "0"), ("XFER_JSON", "maybe"), ("XFER_VERIFY", "\x1b")] {
        let error = place.merge(&[(name, value)], "").unwrap_err();
        assert_eq!(error.class.code(), 2, "{name}");
        assert!(error.what.contains(name), "{}", error.what);
    }
    assert!(place.merge(&[("XFER_YES", "x"), ("XFER_STREAMS", "")], "").is_ok());
}

#[test]
fn flags_of_a_copy_become_options() {
    let place = Place::new();
    let line =
        "-n --verify read-back --bwlimit 8Mbit/s --min-size 1kB --max-age 1h --no-hard-links";
    let settings = place.copy(line).unwrap();
    assert!(settings.dry_run && !settings.options.preserve.hard_links);
    assert_eq!(settings.options.network.bandwidth_limit, Some(1_000_000));
    assert_eq!(settings.options.selection.filter.size_min, Some(1000));
    let oldest = settings.options.selection.filter.modified_min.unwrap();
    assert_eq!(oldest.seconds, NOW - 3600);
    let state = place.surroundings(&[]).state_directory().unwrap();
    assert_eq!(state, place.path("home/.local/state/xfer"));
    assert_eq!(place.copy("-c --quick").unwrap_err().reason, "flags-conflict");
}

#[test]
fn lists_of_paths() {
    let place = Place::new();
    fs::write(place.path("list"), "# note\n/a/b/\n\nc d\n").unwrap();
    let list = place.path("list");
    let only = place.copy(&format!("--files-from {}", list.display())).unwrap();
    let only: Vec<_> =
        only.options.selection.only.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(only, ["a/b", "c d"]);
    fs::write(&list, "ok\0../up\0").unwrap();
    let error = place.copy(&format!("--files-from0 {}", list.display())).unwrap_err();
    assert_eq!(error.class.code(), 3);
    assert!(error.what.contains("entry 2"), "{}", error.what);
}

#[test]
fn the_nearer_of_two_lists_of_paths_counts() {
    let place = Place::new();
    for (name, text) in [("lines", "a\n"), ("nul", "b\0")] {
        fs::write(place.path(name), text).unwrap();
    }
    let (lines, nul) = (place.path("lines"), place.path("nul"));
    for (variable, list, flag, nearer, expected) in [
        ("XFER_FILES_FROM", &lines, "--files-from0", &nul, "b"),
        ("XFER_FILES_FROM0", &nul, "--files-from", &lines, "a"),
    ] {
        let list = list.display().to_string();
        let flag = format!("{flag} {}", nearer.display());
        let merged = place.merge(&[(variable, &list)], &flag).unwrap();
        let settings = CopySettings::resolve(&merged, &place.surroundings(&[])).unwrap();
        let only: Vec<_> =
            settings.options.selection.only.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(only, [expected], "{variable}");
    }
}

#[test]
fn more_patterns_than_a_scan_takes_are_refused() {
    let place = Place::new();
    let list = place.path("patterns");
    for (count, fits) in [(10_000, true), (10_001, false)] {
        fs::write(&list, "x\n".repeat(count)).unwrap();
        let told = place.copy(&format!("--exclude-from {}", list.display()));
        let told = told.map_err(|error| (error.class.code(), error.reason)).map(drop);
        assert_eq!(told, if fits { Ok(()) } else { Err((2, "bad-pattern")) });
    }
}

#[test]
fn no_home_is_a_configuration_error() {
    for home in [None, Some("relative"), Some("/nonexistent/home")] {
        let mut place = Place::new();
        place.home = home.map(Into::into);
        assert_eq!(
            place.surroundings(&[]).state_directory().unwrap_err().reason,
            "no-directory",
            "{home:?}"
        );
    }
}

const NOW: i64 = 1_800_000_000;

struct Place {
    directory: tempfile::TempDir,
    home: Option<OsString>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["config/xfer", "home"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        let home = Some(directory.path().join("home").into());
        Self { directory, home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn system(&self, text: &str) {
        write(&self.path("system.toml"), text);
    }

    fn user(&self, text: &str) {
        write(&self.path("config/xfer/config.toml"), text);
    }

    fn project(&self, text: &str) {
        write(&self.path(".xfer.toml"), text);
    }

    fn surroundings(&self, environment: &[(&str, &str)]) -> Surroundings {
        let mut variables: HashMap<String, OsString> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(v))).collect();
        variables.insert("XDG_CONFIG_HOME".into(), self.path("config").into());
        if let Some(home) = &self.home {
            variables.insert("HOME".into(), home.clone());
        }
        Surroundings {
            variable: Box::new(move |name| variables.get(name).filter(|v| !v.is_empty()).cloned()),
            system_config: self.path("system.toml"),
            project_config: self.path(".xfer.toml"),
            now: Timestamp { seconds: NOW, nanoseconds: 0 },
        }
    }

    fn merge(&self, environment: &[(&str, &str)], flags: &str) -> Result<Merged, CliError> {
        let words = flags.split_whitespace().map(Into::into).collect();
        merge(args::check(words)?, &self.surroundings(environment))
    }

    fn copy(&self, flags: &str) -> Result<CopySettings, CliError> {
        CopySettings::resolve(&self.merge(&[], flags)?, &self.surroundings(&[]))
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}
