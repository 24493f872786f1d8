//! Layers of settings: system, user, project, environment, flags; the later decide.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;
use xfer_core::disk::named::is_directory;
use xfer_core::error::ExitClass;
use xfer_core::options::PROXY_LIMIT;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::path::Escaped;

use crate::args::flags::{self, FLAGS, Flag, Kind};
use crate::args::values::{self, Refusal};
use crate::args::{self, PatternRow, Typed};
use crate::problem::CliError;
use crate::read_file::{TEXT_BYTES_MAX, read, read_optional};

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A file of the system, the user or the project.
    File(PathBuf),
    /// The environment variable of that name.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", Escaped(path.as_os_str().as_encoded_bytes())),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// Finds a variable by its name.
type Lookup = dyn Fn(&str) -> Option<OsString>;

/// What surrounds the process, taken once, so that the rest of settings is a function of values.
pub(crate) struct Surroundings {
    /// Looks an environment variable up; an empty one counts as unset.
    pub(crate) variable: Box<Lookup>,
    /// The system's configuration file.
    pub(crate) system_config: PathBuf,
    /// The project's configuration file, in the working directory.
    pub(crate) project_config: PathBuf,
    /// The time of day.
    pub(crate) now: Timestamp,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn of_process(now: Timestamp) -> Self {
        Self {
            variable: Box::new(|name| std::env::var_os(name).filter(|value| !value.is_empty())),
            system_config: PathBuf::from("/etc/xfer/config.toml"),
            project_config: PathBuf::from(".xfer.toml"),
            now,
        }
    }

    /// `$XDG_STATE_HOME/xfer`, or below home.
    pub(crate) fn state_directory(&self) -> Result<PathBuf, CliError> {
        if let Some(state) = self.absolute("XDG_STATE_HOME") {
            return Ok(state.join("xfer"));
        }
        let refused = |why: &str| {
            CliError::config("no-directory", format!("no directory for records: {why}"))
                .next("set HOME, or XDG_STATE_HOME, to a directory of yours")
        };
        let home = (self.variable)("HOME").ok_or_else(|| refused("HOME is not set"))?;
        let home = PathBuf::from(home);
        if !home.is_absolute() {
            return Err(refused("HOME is not an absolute path"));
        }
        if is_directory(&home) {
            Ok(home.join(".local/state/xfer"))
        } else {
            Err(refused("HOME is no directory"))
        }
    }

    /// The user's own tokens of standing peers, beside the configuration.
    pub(crate) fn peer_token_file(&self) -> Option<PathBuf> {
        Some(self.config_home()?.join("xfer/peer-tokens"))
    }

    /// The user's own policy of gates.
    pub(crate) fn gate_policy_file(&self) -> Option<PathBuf> {
        Some(self.config_home()?.join("xfer/gate.toml"))
    }

    fn config_home(&self) -> Option<PathBuf> {
        let base = self.absolute("XDG_CONFIG_HOME");
        base.or_else(|| self.absolute("HOME").map(|home| home.join(".config")))
    }

    /// The user's configuration file, and whether it was named and so must exist.
    fn user_config(&self) -> Option<(PathBuf, bool)> {
        if let Some(named) = (self.variable)("XFER_CONFIG") {
            return Some((PathBuf::from(named), true));
        }
        Some((self.config_home()?.join("xfer/config.toml"), false))
    }

    fn absolute(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

/// All layers as one, each value with its origin.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    values: BTreeMap<String, (Origin, Vec<OsString>)>,
    patterns: Vec<(Origin, PatternRow)>,
}

pub(super) fn merge(typed: Typed, around: &Surroundings) -> Result<Merged, CliError> {
    let mut merged = Merged::default();
    if let Some(text) = read_optional(&around.system_config, TEXT_BYTES_MAX)? {
        merged.add_file(&around.system_config, &text, Flag::in_files)?;
    }
    match around.user_config() {
        Some((path, true)) => {
            merged.add_file(&path, &read(&path, TEXT_BYTES_MAX)?, Flag::in_files)?
        }
        Some((path, false)) => {
            if let Some(text) = read_optional(&path, TEXT_BYTES_MAX)? {
                merged.add_file(&path, &text, Flag::in_files)?;
            }
        }
        None => {}
    }
    if let Some(text) = read_optional(&around.project_config, TEXT_BYTES_MAX)? {
        let before = merged.proxy_limit()?;
        merged.add_file(&around.project_config, &text, Flag::in_project)?;
        if merged.proxy_limit()? > before {
            let shown = Escaped(around.project_config.as_os_str().as_encoded_bytes());
            let what = format!("{shown}: proxy-limit: a project may lower it, and not raise it");
            return Err(CliError::config("config-forbidden-key", what)
                .next("set it in your own config.toml, or as a flag"));
        }
    }
    merged.add_environment(around)?;
    merged.add(&Origin::Flag, typed);
    Ok(merged)
}

impl Merged {
    fn add(&mut self, origin: &Origin, typed: Typed) {
        for (id, value) in typed.values {
            self.values.insert(id, (origin.clone(), value));
        }
        self.patterns.extend(typed.patterns.into_iter().map(|row| (origin.clone(), row)));
    }

    fn add_file(
        &mut self,
        path: &Path,
        bytes: &[u8],
        allowed: fn(&Flag) -> bool,
    ) -> Result<(), CliError> {
        let shown = Escaped(path.as_os_str().as_encoded_bytes());
        let malformed = |what: String| {
            CliError::config("config-malformed", what)
                .next("write KEY = VALUE with text in quotes; xfer config show lists the keys")
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|_| malformed(format!("{shown}: it is not UTF-8")))?;
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| malformed(format!("{shown}: {}", error.message())))?;
        for (key, value) in table {
            let place = format!("{shown}: {}", Escaped(key.as_bytes()));
            let Some(flag) = FLAGS.iter().find(|flag| flag.long == key && flag.in_files()) else {
                return Err(forbidden(&place, &key));
            };
            if !allowed(flag) {
                return Err(CliError::config(
                    "config-forbidden-key",
                    format!("{place}: a project may not set this"),
                )
                .next("set it in your own config.toml, or as a flag"));
            }
            let words = words(flag, value)
                .ok_or_else(|| malformed(format!("{place}: the value is of the wrong type")))?;
            let typed = args::check(words).map_err(|error| CliError {
                class: ExitClass::Config,
                what: format!("{place}: {}", error.what),
                ..error
            })?;
            self.add(&Origin::File(path.to_owned()), typed);
        }
        Ok(())
    }

    fn add_environment(&mut self, around: &Surroundings) -> Result<(), CliError> {
        for flag in FLAGS {
            let Some(name) = flag.variable() else { continue };
            let opposite = format!("XFER_NO_{}", &name["XFER_".len()..]);
            let switch = matches!(flag.kind, Kind::Switch { .. });
            let found = match (around.variable)(&name) {
                Some(value) => Some((name, value, true)),
                None if switch => {
                    (around.variable)(&opposite).map(|value| (opposite, value, false))
                }
                None => None,
            };
            let Some((name, value, sense)) = found else { continue };
            let refused =
                |why: &str| CliError::usage("bad-value", format!("${name}: {why}")).help();
            let words = match flag.kind {
                Kind::Switch { .. } => match truth(&value) {
                    Some(truth) => vec![switch_word(flag, truth == sense)],
                    None => return Err(refused("expected true or false")),
                },
                Kind::Count => match value.to_str().and_then(|text| text.parse::<u8>().ok()) {
                    Some(count) => vec![flag.typed().into(); count.min(8).into()],
                    None => return Err(refused("expected a number")),
                },
                Kind::Values(..) | Kind::Files(_) | Kind::Pattern(_) => {
                    lines(&value).into_iter().map(|line| word(flag, &line)).collect()
                }
                _ => vec![word(flag, &value)],
            };
            let typed = args::check(words)
                .map_err(|error| CliError { what: format!("${name}: {}", error.what), ..error })?;
            self.add(&Origin::Environment(name), typed);
        }
        Ok(())
    }

    /// A switch.
    pub(crate) fn switch(&self, id: &str, default: bool) -> bool {
        self.first(id).map_or(default, |value| value == "true")
    }

    /// How often a flag was given.
    pub(crate) fn count(&self, id: &str) -> u32 {
        self.first(id).and_then(|value| value.to_str()?.parse().ok()).unwrap_or(0)
    }

    /// What may cross a proxy, as far as it is known by now.
    fn proxy_limit(&self) -> Result<u64, CliError> {
        Ok(self.value("proxy-limit", values::size)?.unwrap_or(PROXY_LIMIT))
    }

    /// A file's name.
    pub(crate) fn path(&self, id: &str) -> Option<PathBuf> {
        self.first(id).map(PathBuf::from)
    }

    /// Every value of a flag.
    pub(crate) fn all(&self, id: &str) -> Vec<OsString> {
        self.values.get(id).map(|(_, values)| values.clone()).unwrap_or_default()
    }

    /// A value in its type. Its text was checked when its layer was read.
    pub(crate) fn value<T>(
        &self,
        id: &str,
        parse: fn(&str) -> Result<T, Refusal>,
    ) -> Result<Option<T>, CliError> {
        let Some(value) = self.first(id) else { return Ok(None) };
        let refused = |why| CliError::usage("bad-value", format!("--{id}: {why}"));
        let text = value.to_str().ok_or_else(|| refused("it is not UTF-8"))?;
        parse(text).map(Some).map_err(refused)
    }

    /// Every value of a flag that may be repeated, in its type.
    pub(crate) fn values<T>(
        &self,
        id: &str,
        parse: fn(&str) -> Result<T, Refusal>,
    ) -> Result<Vec<T>, CliError> {
        let refused = |why| CliError::usage("bad-value", format!("--{id}: {why}"));
        let texts = self.all(id).into_iter();
        texts
            .map(|value| {
                let text = value.to_str().ok_or_else(|| refused("it is not UTF-8"))?;
                parse(text).map_err(refused)
            })
            .collect()
    }

    /// The filter's rows, from the least to the most important.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &PatternRow> {
        self.patterns.iter().map(|(_, row)| row)
    }

    /// Refuses two flags that contradict each other, if both were given at one place.
    pub(crate) fn refuse_pair(&self, one: &str, other: &str) -> Result<(), CliError> {
        let origin = |id: &str| {
            let (origin, value) = self.values.get(id)?;
            (value.first().is_none_or(|value| value != "false")).then_some(origin)
        };
        match (origin(one), origin(other)) {
            (Some(Origin::Flag), Some(Origin::Flag)) => {
                let what = format!("--{one} contradicts --{other}");
                Err(CliError::usage("flags-conflict", what).help())
            }
            _ => Ok(()),
        }
    }

    /// The one of two keys that takes precedence, where both are set in different places.
    pub(crate) fn nearer<'a>(&self, one: &'a str, other: &'a str) -> &'a str {
        let rank = |id: &str| {
            self.values.get(id).map(|(origin, _)| match origin {
                Origin::File(_) => 0,
                Origin::Environment(_) => 1,
                Origin::Flag => 2,
            })
        };
        if rank(other) > rank(one) { other } else { one }
    }

    /// Rows of key, value and origin, in the order of the flags.
    pub(crate) fn rows(&self) -> Vec<(String, String, Option<Origin>)> {
        let mut rows = Vec::new();
        for flag in FLAGS.iter().filter(|flag| flag.variable().is_some()) {
            if matches!(flag.kind, Kind::Pattern(_)) {
                for (origin, row) in self.patterns.iter().filter(|(_, row)| row.flag == flag.long) {
                    let value = super::shown(std::slice::from_ref(&row.value));
                    rows.push((flag.id(), value, Some(origin.clone())));
                }
            } else if let Some((origin, values)) = self.values.get(flag.long) {
                rows.push((flag.id(), super::shown(values), Some(origin.clone())));
            } else if flag.in_files() {
                rows.push((flag.id(), default_text(flag).to_owned(), None));
            }
        }
        rows
    }

    fn first(&self, id: &str) -> Option<&OsString> {
        self.values.get(id).and_then(|(_, values)| values.first())
    }
}

fn forbidden(place: &str, key: &str) -> CliError {
    let error =
        CliError::config("config-unknown-key", format!("{place}: there is no such setting"));
    match flags::find(key) {
        Some(flag) => error.next(format!("{} belongs to one run; give it as a flag", flag.typed())),
        None => error.next("see: xfer config show"),
    }
}

/// The words that would say the same on a command line.
fn words(flag: &Flag, value: Value) -> Option<Vec<OsString>> {
    match (flag.kind, value) {
        (Kind::Switch { .. }, Value::Boolean(truth)) => Some(vec![switch_word(flag, truth)]),
        (Kind::Count, Value::Integer(count)) => {
            Some(vec![flag.typed().into(); usize::try_from(count).ok()?.min(8)])
        }
        (Kind::Switch { .. } | Kind::Count, _) => None,
        (Kind::Values(..) | Kind::Files(_) | Kind::Pattern(_), Value::Array(values)) => {
            values.into_iter().map(|value| Some(word(flag, &scalar(value)?))).collect()
        }
        (_, value) => Some(vec![word(flag, &scalar(value)?)]),
    }
}

fn scalar(value: Value) -> Option<OsString> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Integer(number) => Some(number.to_string().into()),
        Value::Float(number) => Some(number.to_string().into()),
        _ => None,
    }
}

fn word(flag: &Flag, value: &OsString) -> OsString {
    let mut word = OsString::from(format!("--{}=", flag.long));
    word.push(value);
    word
}

fn switch_word(flag: &Flag, truth: bool) -> OsString {
    let opposite = if truth { "" } else { "no-" };
    format!("--{opposite}{}", flag.long).into()
}

fn truth(value: &OsString) -> Option<bool> {
    match value.to_str()?.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn lines(value: &OsString) -> Vec<OsString> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let lines = value.as_bytes().split(|&b| b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| OsString::from_vec(line.to_vec())).collect()
}

fn default_text(flag: &Flag) -> &'static str {
    match (flag.long, flag.kind) {
        (_, Kind::Switch { on: true }) => "true",
        (_, Kind::Switch { on: false }) => "false",
        (_, Kind::Count) => "0",
        ("verify", _) => "durable",
        ("streams" | "route" | "color", _) => "auto",
        ("retries", _) => "10",
        ("proxy-limit", _) => "1GB",
        ("reserve", _) => "512MiB",
        ("duration", _) => "10s",
        ("max-bytes", _) => "500MB",
        ("stall-timeout", _) => "30s",
        _ => "none",
    }
}
