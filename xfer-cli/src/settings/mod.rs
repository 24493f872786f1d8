//! What is in effect, resolved from the command line, the environment and files.

mod layers;
mod lists;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xfer_core::error::{TransferError, UsageReason};
use xfer_core::location::{Location, Machine};
use xfer_core::options::{
    Comparison, Deadline, DiskOptions, Leaves, MachineOptions, MappedPort, NetworkOptions, Order,
    OrderOptions, PreserveOptions, Reader, RemovalOptions, RetryOptions, RouteChoice,
    SelectionOptions, SettleOptions, TransferOptions, VerifyOptions, Via, WatchOptions,
};
use xfer_core::transport::ssh::SshOptions;
use xfer_protocol::digest::BlockSize;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::message::FilterRules;
use xfer_protocol::path::{Escaped, RelPath};

use crate::args::Typed;
use crate::args::values::{self, Color, Refusal, Time};
use crate::problem::CliError;

pub(crate) use layers::{Merged, Surroundings};

/// What is printed, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutputSettings {
    /// NDJSON on standard output.
    pub(crate) json: bool,
    /// NDJSON in a file.
    pub(crate) events: Option<PathBuf>,
    /// Numbers for Prometheus in a file.
    pub(crate) metrics: Option<PathBuf>,
    /// Errors only.
    pub(crate) quiet: bool,
    /// No bars and no lines of progress.
    pub(crate) no_progress: bool,
    /// 0: a summary; 1: each entry; 2: decisions too.
    pub(crate) verbose: u32,
    /// When to colour.
    pub(crate) color: Color,
    /// Where to append what is printed.
    pub(crate) log_file: Option<PathBuf>,
}

/// How machines are reached.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSettings {
    /// Key files.
    pub(crate) identities: Vec<PathBuf>,
    /// Configuration of ssh.
    pub(crate) ssh_config: Option<PathBuf>,
    /// Jump hosts.
    pub(crate) jump: Option<String>,
    /// Port.
    pub(crate) port: Option<u16>,
    /// `-o` options.
    pub(crate) ssh_options: Vec<String>,
    /// Route.
    pub(crate) route: RouteChoice,
    pub(crate) data_ports: Vec<MappedPort>,
    /// When a stream is given up.
    pub(crate) stall: Duration,
    /// The agent's binary.
    pub(crate) agent_binary: Option<PathBuf>,
    /// Tokens of standing peers.
    pub(crate) peer_token_file: Option<PathBuf>,
    /// Where buckets are.
    pub(crate) endpoint: Option<String>,
}

impl ConnectionSettings {
    /// As the SSH transport takes them.
    pub(crate) fn apply(&self, ssh: &mut SshOptions) {
        ssh.identities.clone_from(&self.identities);
        ssh.config_file.clone_from(&self.ssh_config);
        ssh.jump.clone_from(&self.jump);
        ssh.port = self.port;
        ssh.options.clone_from(&self.ssh_options);
    }
}

/// Everything that a copy is told.
#[derive(Clone, Debug)]
pub(crate) struct CopySettings {
    /// For the engine.
    pub(crate) options: TransferOptions,
    /// Only show the plan.
    pub(crate) dry_run: bool,
}

/// What a probe is told.
#[derive(Clone, Debug)]
pub(crate) struct ProbeSettings {
    /// How machines are reached.
    pub(crate) options: TransferOptions,
    /// How long it measures.
    pub(crate) time: Option<Duration>,
    /// Bytes that it moves at most.
    pub(crate) bytes: Option<u64>,
    /// Bytes of the transfer that is thought of.
    pub(crate) size: Option<u64>,
}

/// Merges the layers. Nothing is read but configuration files.
pub(crate) fn merge(typed: Typed, around: &Surroundings) -> Result<Merged, CliError> {
    layers::merge(typed, around)
}

impl OutputSettings {
    /// From merged settings.
    pub(crate) fn resolve(merged: &Merged) -> Result<Self, CliError> {
        Ok(Self {
            json: merged.switch("json", false),
            events: merged.path("events"),
            metrics: merged.path("metrics"),
            quiet: merged.count("quiet") > 0,
            no_progress: !merged.switch("progress", true),
            verbose: merged.count("verbose"),
            color: merged.value("color", values::color)?.unwrap_or_default(),
            log_file: merged.path("log-file"),
        })
    }

    /// The same but for files, which another process writes.
    pub(crate) fn without_files(self) -> Self {
        Self { events: None, log_file: None, ..self }
    }
}

impl ConnectionSettings {
    /// From merged settings.
    pub(crate) fn resolve(merged: &Merged) -> Result<Self, CliError> {
        Ok(Self {
            identities: merged.all("identity").into_iter().map(PathBuf::from).collect(),
            ssh_config: merged.path("ssh-config"),
            jump: merged.value("jump", text)?,
            port: merged.value("port", values::port)?,
            ssh_options: merged
                .all("ssh-option")
                .into_iter()
                .map(|option| option.to_string_lossy().into_owned())
                .collect(),
            route: merged.value("route", values::route)?.unwrap_or_default(),
            data_ports: merged.values("data-port", values::data_port)?,
            stall: merged
                .value("stall-timeout", values::timeout)?
                .unwrap_or_else(|| RetryOptions::default().stall),
            agent_binary: merged.path("agent-binary"),
            peer_token_file: merged.path("peer-token-file"),
            endpoint: merged.value("endpoint-url", values::endpoint)?,
        })
    }
}

impl ProbeSettings {
    /// From merged settings.
    pub(crate) fn resolve(merged: &Merged) -> Result<Self, CliError> {
        let connection = ConnectionSettings::resolve(merged)?;
        let mut options = TransferOptions::default();
        options.network.route = connection.route;
        options.network.data_ports = connection.data_ports;
        options.network.agent_binary = connection.agent_binary;
        options.network.endpoint = connection.endpoint;
        options.retry.stall = connection.stall;
        Ok(Self {
            options,
            time: merged.value("duration", values::timeout)?,
            bytes: merged.value("max-bytes", values::size)?,
            size: merged.value("size", values::size)?,
        })
    }
}

impl CopySettings {
    /// Goes on for as long as nobody stops it: with the defaults of that, where nobody says
    /// otherwise.
    pub(crate) fn watch(&mut self, merged: &Merged) -> Result<WatchOptions, CliError> {
        const SETTLE: Duration = Duration::from_secs(10);
        const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);
        let options = &mut self.options;
        let is_said = |id| !merged.all(id).is_empty();
        options.selection.settle.gone = true;
        if !is_said("settle") {
            options.selection.settle.time = SETTLE;
        }
        if !is_said("order") {
            options.order.by = Order::Newest;
        }
        options.machine.wait.get_or_insert(FOR_EVER);
        let failures = merged.value("retries", values::retries)?;
        Ok(WatchOptions { failures, ..WatchOptions::default() })
    }

    /// From merged settings; reads the files of patterns and paths that they name.
    pub(crate) fn resolve(merged: &Merged, around: &Surroundings) -> Result<Self, CliError> {
        merged.refuse_pair("checksum", "quick")?;
        merged.refuse_pair("checksum", "size-only")?;
        merged.refuse_pair("quick", "size-only")?;
        merged.refuse_pair("files-from", "files-from0")?;
        let connection = ConnectionSettings::resolve(merged)?;
        let retry = RetryOptions::default();
        let options = TransferOptions {
            selection: selection(merged, around.now)?,
            preserve: preserve(merged)?,
            order: OrderOptions {
                by: merged.value("order", values::order)?.unwrap_or_default(),
                first: merged.values("first", values::first)?,
            },
            verify: VerifyOptions {
                level: merged.value("verify", values::verify_level)?.unwrap_or_default(),
                load_check: load_check(merged),
                reader: reader(merged)?,
            },
            network: NetworkOptions {
                via: via(merged)?,
                block: block_size(around)?,
                streams: merged.value("streams", values::streams)?.flatten(),
                compression: merged.value("compress", values::compression)?.unwrap_or_default(),
                bandwidth_limit: merged.value("bwlimit", values::rate)?,
                route: connection.route,
                data_ports: connection.data_ports,
                proxy_limit: merged.value("proxy-limit", values::size)?,
                max_cost: merged.value("max-cost", values::dollars)?,
                endpoint: connection.endpoint,
                agent_binary: connection.agent_binary,
            },
            retry: RetryOptions {
                retries: merged.value("retries", values::retries)?.unwrap_or(retry.retries),
                stall: connection.stall,
                deadline: deadline(merged)?,
                ..retry
            },
            disk: DiskOptions {
                reserve: merged.value("reserve", values::size)?,
                receipt: merged.path("receipt"),
                remote_receipt: merged.switch("remote-receipt", false),
                in_place: in_place(merged)?,
            },
            removal: removal(merged)?,
            machine: MachineOptions {
                start: merged.switch("start", false),
                wait: merged.value("wait-machine", values::span)?,
            },
        };
        Ok(Self { options, dry_run: merged.switch("dry-run", false) })
    }
}

/// A command that says whether a copy loads.
pub(crate) fn load_check(merged: &Merged) -> Option<OsString> {
    merged.path("load-check").map(PathBuf::into_os_string)
}

/// What is preserved of entries, and what is changed.
fn preserve(merged: &Merged) -> Result<PreserveOptions, CliError> {
    let kept = PreserveOptions::default();
    let preserve = PreserveOptions {
        times: merged.switch("times", kept.times),
        owner: merged.switch("owner", kept.owner),
        xattrs: merged.switch("xattrs", kept.xattrs),
        acls: merged.switch("acls", kept.acls),
        hard_links: merged.switch("hard-links", kept.hard_links),
        devices: merged.switch("devices", kept.devices),
        chmod: merged.value("chmod", values::chmod)?.unwrap_or(kept.chmod),
    };
    if preserve.chmod.sets_ids() && !preserve.owner {
        let what = "--chmod gives setuid or setgid with --owner alone";
        return Err(CliError::usage("flags-conflict", what).next("add --owner, or leave out the s"));
    }
    Ok(preserve)
}

/// What becomes of what the source does not have, and of what is replaced.
fn removal(merged: &Merged) -> Result<RemovalOptions, CliError> {
    let when = merged.value("delete", values::removal_time)?;
    let limit = merged.value("max-delete", values::removal_limit)?;
    if limit.is_some() && when.is_none() {
        return Err(CliError::usage(
            "flags-conflict",
            "--max-delete is of no use without --delete",
        )
        .next("add --delete, or leave --max-delete out"));
    }
    let backup = merged.path("backup-dir").map(|path| backup_dir(&path)).transpose()?;
    Ok(RemovalOptions { when, limit: limit.unwrap_or_default(), backup })
}

/// Whether files are written over what they replace.
fn in_place(merged: &Merged) -> Result<bool, CliError> {
    let in_place = merged.switch("inplace", false);
    if in_place && merged.path("backup-dir").is_some() {
        let what = "--backup-dir keeps what --inplace writes over";
        return Err(CliError::usage("flags-conflict", what).next("leave one of them out"));
    }
    Ok(in_place)
}

/// A directory below the destination.
fn backup_dir(path: &Path) -> Result<RelPath, CliError> {
    let bytes = path.as_os_str().as_bytes();
    let below = bytes.strip_prefix(b"./").unwrap_or(bytes);
    let below = below.strip_suffix(b"/").unwrap_or(below);
    RelPath::new(below.to_vec()).ok().filter(|path| !path.is_root()).ok_or_else(|| {
        let shown = Escaped(bytes);
        CliError::usage(
            "bad-value",
            format!("--backup-dir {shown}: it leads out of the destination"),
        )
        .next("name a directory below the destination, as --backup-dir old/monday")
    })
}

/// Who reads buckets back.
fn reader(merged: &Merged) -> Result<Reader, CliError> {
    let place = merged.value("read-back-from", values::place)?;
    Ok(match place.as_deref() {
        None => Reader::Mover,
        Some("here") => Reader::Here,
        Some(other) => {
            let at = Location::parse(other.as_bytes()).map_err(UsageReason::from);
            Reader::At(at.map_err(TransferError::from)?)
        }
    })
}

/// What files pass on their way.
fn via(merged: &Merged) -> Result<Via, CliError> {
    let place = merged.value("via", values::place)?;
    match place.as_deref() {
        None => Ok(Via::Nothing),
        Some("here") => Ok(Via::Here),
        Some(other) => {
            let way = Location::parse(other.as_bytes()).map_err(UsageReason::from);
            match way.map_err(TransferError::from)? {
                way @ Location { machine: Machine::Store(_), .. } => Ok(Via::Store(way)),
                way => Err(TransferError::from(UsageReason::NoWay(way)).into()),
            }
        }
    }
}

/// What measurements fix; nobody else has a use for it, so it is no flag.
fn block_size(around: &Surroundings) -> Result<Option<BlockSize>, CliError> {
    const NAME: &str = "XFER_BLOCK_SIZE";
    let Some(text) = (around.variable)(NAME) else { return Ok(None) };
    let size = text.to_str().and_then(|text| values::size(text).ok());
    let exact = size.filter(|size| size.is_power_of_two());
    let log = exact.and_then(|size| u8::try_from(size.ilog2()).ok());
    match log.and_then(|log| BlockSize::from_log(log).ok()) {
        Some(block) => Ok(Some(block)),
        None => Err(CliError::usage(
            "bad-value",
            format!("{NAME}: expected a power of two from 64KiB to 16MiB"),
        )),
    }
}

fn selection(merged: &Merged, now: Timestamp) -> Result<SelectionOptions, CliError> {
    let compare = if merged.switch("checksum", false) {
        Comparison::Content
    } else if merged.switch("quick", false) {
        Comparison::Quick
    } else if merged.switch("size-only", false) {
        Comparison::Size
    } else {
        Comparison::Recorded
    };
    let age = |id| merged.value(id, values::time).map(|time| time.map(|time| since(time, now)));
    let list = merged.nearer("files-from", "files-from0");
    let end = if list == "files-from" { b'\n' } else { 0 };
    let only = merged.path(list).map(|list| lists::paths(&list, end)).transpose()?;
    Ok(SelectionOptions {
        filter: FilterRules {
            rules: lists::rules(merged.patterns())?,
            gitignore: merged.switch("gitignore", false),
            xferignore: true,
            size_min: merged.value("min-size", values::size)?,
            size_max: merged.value("max-size", values::size)?,
            modified_max: age("min-age")?,
            modified_min: age("max-age")?,
        },
        only,
        follow_links: merged.switch("copy-links", false),
        allow_secrets: merged.switch("allow-secrets", false),
        compare,
        leaves: leaves(merged)?,
        settle: SettleOptions {
            time: merged.value("settle", values::settle)?.unwrap_or_default(),
            gone: false,
        },
    })
}

/// When the transfer ends, done or not.
fn deadline(merged: &Merged) -> Result<Option<Deadline>, CliError> {
    let deadline = merged.value("deadline", values::deadline)?;
    if deadline.is_some()
        && let Via::Store(_) = via(merged)?
    {
        let what = "--deadline is of one way, and --via has two by way of a bucket";
        return Err(CliError::usage("flags-conflict", what)
            .next("push to the bucket with --deadline, and on from there by itself"));
    }
    Ok(deadline)
}

/// What exists at the destination and stays as it is.
fn leaves(merged: &Merged) -> Result<Leaves, CliError> {
    let leaves = match (merged.switch("ignore-existing", false), merged.switch("update", false)) {
        (true, _) => Leaves::Existing,
        (false, true) => Leaves::Newer,
        (false, false) => return Ok(Leaves::Nothing),
    };
    if let Via::Store(_) = via(merged)? {
        let what = "--update and --ignore-existing do not go by way of a bucket (--via)";
        return Err(CliError::usage("flags-conflict", what)
            .next("leave --via out, or choose what goes with --files-from or --exclude"));
    }
    Ok(leaves)
}

/// The moment that an age names.
fn since(time: Time, now: Timestamp) -> Timestamp {
    match time {
        Time::Moment(moment) => moment,
        Time::Span(span) => {
            let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
            Timestamp { seconds: now.seconds.saturating_sub(seconds), ..now }
        }
    }
}

fn text(text: &str) -> Result<String, Refusal> {
    Ok(text.to_owned())
}

/// The words of a value for a person.
pub(crate) fn shown(values: &[OsString]) -> String {
    let words: Vec<_> = values.iter().map(|value| value.to_string_lossy()).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests;
