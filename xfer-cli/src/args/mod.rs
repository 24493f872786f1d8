//! What was typed. Nothing here looks at the machine, and nothing here does anything.

pub(crate) mod command;
pub(crate) mod flags;
mod usage;
pub(crate) mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use xfer_core::location::{Location, Machine};

use self::flags::{FLAGS, Kind};
use crate::problem::CliError;

/// A command line, understood.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// What to do.
    pub(crate) verb: Verb,
    /// The flags that were typed.
    pub(crate) typed: Typed,
}

/// What to do, and with what.
#[derive(Debug)]
pub(crate) enum Verb {
    /// `push`, `pull` or `sync`.
    Copy { copying: Copying, sources: Vec<Location>, destination: Location },
    /// A push to the embedded peer of a rehearsal.
    Rehearsed { source: Location, destination: Location },
    /// `verify`
    Verify { location: Location, against: OsString },
    /// `ls`
    List { location: Location },
    /// `ls --uploads`, and after which time without work they are aborted.
    Uploads { location: Location, stale: Option<Duration> },
    /// `probe`
    Probe { locations: Vec<Location> },
    /// `receipt show`
    ReceiptShow { file: PathBuf },
    /// `receipt check`, and the files of keys that are believed.
    ReceiptCheck { file: PathBuf, trusted: Vec<PathBuf> },
    /// `receipt export`
    ReceiptExport { file: PathBuf },
    /// `gate`
    Gate(GateVerb),
    /// `evacuate`
    Evacuate(EvacuateVerb),
    /// `rehearse`
    Rehearse { directory: Option<PathBuf> },
    /// `serve`
    Serve,
    /// `hosts list`
    HostsList,
    /// `hosts forget`
    HostsForget { machine: OsString },
    /// `install`
    Install { location: Location },
    /// `destroy`, and what was passed to confirm it.
    Destroy { machine: OsString, token: PathBuf, confirm: Option<OsString> },
    /// `transfers`
    Transfers,
    /// `attach`
    Attach { id: String },
    /// `cancel`
    Cancel { id: String },
    /// `config show`
    ConfigShow { origin: bool },
    /// `report FILE`.
    Report { file: PathBuf },
    /// `completions`
    Completions { shell: String },
    /// `man`
    Man,
    /// `version`
    Version,
    /// `agent`, with all that follows it.
    Agent { words: Vec<OsString> },
    /// `--help` or `--version`: the text to print.
    Text(String),
}

/// What `gate` is asked.
#[derive(Debug)]
pub(crate) struct GateVerb {
    /// The machine; its path, where it has one, is a root.
    pub(crate) machine: Location,
    /// More roots.
    pub(crate) roots: Vec<Vec<u8>>,
    /// Receipts; none means those that the state directory keeps of this machine.
    pub(crate) receipts: Vec<Location>,
    /// The file of the policy.
    pub(crate) policy: Option<PathBuf>,
    /// Digests of what may be lost.
    pub(crate) acks: Vec<OsString>,
    /// Files of keys that are believed.
    pub(crate) trusted: Vec<PathBuf>,
    /// Where the token goes; standard output by itself.
    pub(crate) token: Option<PathBuf>,
}

/// What `evacuate` is asked.
#[derive(Debug)]
pub(crate) struct EvacuateVerb {
    /// The machine; its path, where it has one, is a root.
    pub(crate) location: Location,
    /// Where all goes.
    pub(crate) destination: Location,
    /// More roots.
    pub(crate) roots: Vec<Vec<u8>>,
    /// The file of the policy.
    pub(crate) policy: Option<PathBuf>,
    /// Digests of what may be lost.
    pub(crate) acks: Vec<OsString>,
    /// Files of keys that are believed.
    pub(crate) trusted: Vec<PathBuf>,
    /// Where the token goes where nothing is destroyed; standard output by itself.
    pub(crate) token: Option<PathBuf>,
    /// Whether the machine goes once it may.
    pub(crate) destroy: bool,
    /// What was passed to confirm that.
    pub(crate) confirm: Option<OsString>,
    /// What becomes of a machine that may not go.
    pub(crate) on_hold: OnHold,
}

/// What becomes of a machine that may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnHold {
    /// It runs on.
    Leave,
    /// It is stopped, and its disk kept.
    Stop,
}

impl Verb {
    /// As it is typed.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Copy { copying, .. } => copying.name(),
            Self::Rehearsed { .. } => "push",
            Self::Verify { .. } => "verify",
            Self::List { .. } | Self::Uploads { .. } => "ls",
            Self::Probe { .. } => "probe",
            Self::ReceiptShow { .. } | Self::ReceiptCheck { .. } | Self::ReceiptExport { .. } => {
                "receipt"
            }
            Self::Gate(_) => "gate",
            Self::Evacuate(_) => "evacuate",
            Self::Rehearse { .. } => "rehearse",
            Self::Serve => "serve",
            Self::HostsList | Self::HostsForget { .. } => "hosts",
            Self::Install { .. } => "install",
            Self::Destroy { .. } => "destroy",
            Self::Transfers => "transfers",
            Self::Attach { .. } => "attach",
            Self::Cancel { .. } => "cancel",
            Self::ConfigShow { .. } => "config",
            Self::Report { .. } => "report",
            Self::Completions { .. } => "completions",
            Self::Man => "man",
            Self::Version => "version",
            Self::Agent { .. } => "agent",
            Self::Text(_) => "help",
        }
    }
}

/// The verbs that copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copying {
    Push,
    Pull,
    Sync,
}

impl Copying {
    fn named(verb: &str) -> Self {
        match verb {
            "pull" => Self::Pull,
            "sync" => Self::Sync,
            _ => Self::Push,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Sync => "sync",
        }
    }
}

/// Values of flags, checked and still text, so that layers of any origin are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Typed {
    /// By flag; a switch holds `true` or `false`, a counted flag its count.
    pub(crate) values: BTreeMap<String, Vec<OsString>>,
    /// The filter's rows in the order in which they were typed.
    pub(crate) patterns: Vec<PatternRow>,
}

/// One row of the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PatternRow {
    /// `include`, `exclude` or `exclude-from`.
    pub(crate) flag: &'static str,
    /// The pattern, or the file's name.
    pub(crate) value: OsString,
}

/// The verb that was typed, where it is one.
fn typed_verb(words: &[OsString]) -> Option<&str> {
    let verb = words.get(1)?.to_str()?;
    command::command().find_subcommand(verb).is_some().then_some(verb)
}

/// Understands a command line, or says why not.
pub(crate) fn parse(words: &[OsString]) -> Result<Invocation, CliError> {
    understand(words).map_err(|error| match typed_verb(words) {
        Some(verb) => error.of_verb(verb),
        None => error,
    })
}

/// `xfer help VERB` as `xfer VERB --help`.
fn help_for_help(words: &[OsString]) -> Vec<OsString> {
    match words {
        [program, help, verb @ ..] if help == "help" => {
            [program].into_iter().chain(verb).cloned().chain(["--help".into()]).collect()
        }
        words => words.to_vec(),
    }
}

/// Whether `-h` stands where nothing is to be copied: then it is no rsync user's.
fn asks_help(words: &[OsString]) -> bool {
    words.iter().skip(2).any(|word| word == "-h")
}

fn understand(words: &[OsString]) -> Result<Invocation, CliError> {
    let words = &help_for_help(words);
    let matches = match command::command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            let text = match error.kind() {
                ErrorKind::DisplayVersion => format!("xfer {}\n", env!("CARGO_PKG_VERSION")),
                _ => error.render().to_string(),
            };
            return Ok(Invocation { verb: Verb::Text(text), typed: Typed::default() });
        }
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument && asks_help(words) => {
            return understand(&[words[0].clone(), words[1].clone(), "--help".into()]);
        }
        Err(error) => return Err(usage::explain(&error, words)),
    };
    let Some((name, matches)) = matches.subcommand() else {
        return Err(CliError::usage("no-verb", "no verb was given").help());
    };
    let inner = matches.subcommand();
    let verb = verb(name, matches, inner)?;
    let typed = Typed::read(inner.map_or(matches, |(_, matches)| matches));
    Ok(Invocation { verb, typed })
}

/// Checks flags that did not come from a command line.
pub(crate) fn check(words: Vec<OsString>) -> Result<Typed, CliError> {
    match command::flags_only().try_get_matches_from(words) {
        Ok(matches) => Ok(Typed::read(&matches)),
        Err(error) => Err(usage::explain(&error, &[])),
    }
}

fn verb(
    name: &str,
    matches: &ArgMatches,
    inner: Option<(&str, &ArgMatches)>,
) -> Result<Verb, CliError> {
    Ok(match name {
        "push" | "pull" | "sync" => copying(name, matches)?,
        "rehearsed" => Verb::Rehearsed {
            source: location(&word(matches, "SOURCE"))?,
            destination: location(&word(matches, "DESTINATION"))?,
        },
        "verify" => Verb::Verify {
            location: location(&word(matches, "LOCATION"))?,
            against: word(matches, "against"),
        },
        "ls" => listing(matches)?,
        "probe" => {
            let named = matches.get_many::<OsString>("LOCATION").into_iter().flatten();
            Verb::Probe { locations: named.map(location).collect::<Result<_, _>>()? }
        }
        "serve" => Verb::Serve,
        "install" => Verb::Install { location: location(&word(matches, "LOCATION"))? },
        "destroy" => destruction(matches),
        "hosts" => match inner {
            Some(("forget", inner)) => Verb::HostsForget { machine: word(inner, "MACHINE") },
            Some(_) => Verb::HostsList,
            None => return Err(CliError::usage("no-verb", "hosts what?").help()),
        },
        "receipt" => match inner {
            Some(("show", inner)) => Verb::ReceiptShow { file: word(inner, "FILE").into() },
            Some(("check", inner)) => {
                let trusted = words_of(inner, "trust-key").map(PathBuf::from).collect();
                Verb::ReceiptCheck { file: word(inner, "FILE").into(), trusted }
            }
            Some((_, inner)) => Verb::ReceiptExport { file: word(inner, "FILE").into() },
            None => return Err(CliError::usage("no-verb", "receipt what?").help()),
        },
        "transfers" => Verb::Transfers,
        "attach" => Verb::Attach { id: name_of_transfer(matches) },
        "cancel" => Verb::Cancel { id: name_of_transfer(matches) },
        "config" => {
            Verb::ConfigShow { origin: inner.is_some_and(|(_, inner)| inner.get_flag("origin")) }
        }
        "evacuate" => Verb::Evacuate(evacuation(matches)?),
        "gate" => Verb::Gate(gating(matches)?),
        "rehearse" => {
            Verb::Rehearse { directory: matches.get_one::<OsString>("DIR").map(PathBuf::from) }
        }
        "completions" => Verb::Completions {
            shell: matches.get_one::<String>("SHELL").cloned().unwrap_or_default(),
        },
        "report" => Verb::Report { file: word(matches, "FILE").into() },
        "man" => Verb::Man,
        "version" => Verb::Version,
        _ => Verb::Agent {
            words: matches.get_many("words").into_iter().flatten().cloned().collect(),
        },
    })
}

fn name_of_transfer(matches: &ArgMatches) -> String {
    word(matches, "ID").to_string_lossy().into_owned()
}

fn copying(name: &str, matches: &ArgMatches) -> Result<Verb, CliError> {
    let copying = Copying::named(name);
    let locations = matches.get_many::<OsString>("LOCATION").into_iter().flatten();
    let mut sources = locations.map(location).collect::<Result<Vec<_>, _>>()?;
    match (sources.pop(), sources.is_empty()) {
        (Some(_), false) if copying == Copying::Sync && sources.len() > 1 => Err(several_to_sync()),
        (Some(destination), false) => Ok(Verb::Copy { copying, sources, destination }),
        _ => {
            let several = if copying == Copying::Sync { "" } else { "..." };
            let usage = format!("xfer {name} SOURCE{several} DESTINATION");
            Err(CliError::usage("missing-operand", "a destination is missing")
                .next(format!("{usage}; see: xfer {name} --help")))
        }
    }
}

fn gating(matches: &ArgMatches) -> Result<GateVerb, CliError> {
    Ok(GateVerb {
        machine: location(&word(matches, "MACHINE"))?,
        roots: words_of(matches, "root").map(|root| root.as_bytes().to_vec()).collect(),
        receipts: words_of(matches, "receipt").map(location).collect::<Result<_, _>>()?,
        policy: matches.get_one::<OsString>("policy").map(PathBuf::from),
        acks: words_of(matches, "ack").cloned().collect(),
        trusted: words_of(matches, "trust-key").map(PathBuf::from).collect(),
        token: matches.get_one::<OsString>("token").map(PathBuf::from),
    })
}

fn evacuation(matches: &ArgMatches) -> Result<EvacuateVerb, CliError> {
    let file = |name| matches.get_one::<OsString>(name).map(PathBuf::from);
    Ok(EvacuateVerb {
        location: location(&word(matches, "MACHINE"))?,
        destination: location(&word(matches, "DESTINATION"))?,
        roots: words_of(matches, "root").map(|root| root.as_bytes().to_vec()).collect(),
        policy: file("policy"),
        acks: words_of(matches, "ack").cloned().collect(),
        trusted: words_of(matches, "trust-key").map(PathBuf::from).collect(),
        token: file("token"),
        destroy: matches.get_flag("destroy"),
        confirm: matches.get_one::<OsString>("confirm").cloned(),
        on_hold: match matches.get_one::<String>("on-hold").map(String::as_str) {
            Some("stop") => OnHold::Stop,
            _ => OnHold::Leave,
        },
    })
}

fn destruction(matches: &ArgMatches) -> Verb {
    Verb::Destroy {
        machine: word(matches, "MACHINE"),
        token: word(matches, "token").into(),
        confirm: matches.get_one::<OsString>("confirm").cloned(),
    }
}

fn several_to_sync() -> CliError {
    CliError::usage("extra-operand", "sync takes one source and a destination")
        .next("sync them one at a time, or: xfer push SOURCE... DESTINATION")
}

fn listing(matches: &ArgMatches) -> Result<Verb, CliError> {
    let location = location(&word(matches, "LOCATION"))?;
    if !matches.get_flag("uploads") {
        return Ok(Verb::List { location });
    }
    if !matches!(location.machine, Machine::Store(_)) {
        let what = format!("{location} has no uploads: it is no object store");
        return Err(CliError::usage("not-a-store", what)
            .next("name a bucket: s3://BUCKET/PATH, gs://, az:// or b2://"));
    }
    Ok(Verb::Uploads { location, stale: matches.get_one("abort-stale").copied() })
}

/// An operand that the parser requires.
fn word(matches: &ArgMatches, name: &str) -> OsString {
    matches.get_one::<OsString>(name).cloned().unwrap_or_default()
}

/// All values of what may be repeated.
fn words_of<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = &'a OsString> {
    matches.get_many::<OsString>(name).into_iter().flatten()
}

fn location(text: &OsString) -> Result<Location, CliError> {
    Location::parse(text.as_bytes()).map_err(CliError::from)
}

impl Typed {
    fn read(matches: &ArgMatches) -> Self {
        let mut typed = Self::default();
        let mut patterns = Vec::new();
        for flag in FLAGS {
            let id = flag.id();
            if given(matches, &id) {
                let raw: Vec<OsString> =
                    matches.get_raw(&id).into_iter().flatten().map(Into::into).collect();
                match flag.kind {
                    Kind::Switch { .. } => typed.set(id, "true"),
                    Kind::Count => typed.set(id.clone(), &matches.get_count(&id).to_string()),
                    // Asked for on this command line, it overrules what a file says.
                    Kind::OldFinger if flag.short == Some('z') => {
                        let chosen = typed.values.entry("compress".to_owned());
                        chosen.or_insert_with(|| vec!["auto".into()]);
                    }
                    Kind::OldFinger => {}
                    Kind::Pattern(_) => {
                        let indices = matches.indices_of(&id).into_iter().flatten();
                        let row = |value| PatternRow { flag: flag.long, value };
                        patterns.extend(indices.zip(raw.into_iter().map(row)));
                    }
                    _ => {
                        typed.values.insert(id, raw);
                    }
                }
            } else if given(matches, &format!("no-{id}")) {
                match flag.kind {
                    Kind::Switch { .. } => typed.set(id, "false"),
                    Kind::Count => typed.set(id, "0"),
                    Kind::OldFinger if flag.long == "progress" => typed.set(id, "false"),
                    _ => {}
                }
            }
        }
        patterns.sort_by_key(|(index, _)| *index);
        typed.patterns = patterns.into_iter().map(|(_, row)| row).collect();
        typed
    }

    fn set(&mut self, id: String, value: &str) {
        self.values.insert(id, vec![value.into()]);
    }
}

fn given(matches: &ArgMatches, id: &str) -> bool {
    matches.try_contains_id(id).unwrap_or(false)
        && matches.value_source(id) == Some(ValueSource::CommandLine)
}

#[cfg(test)]
mod tests;
