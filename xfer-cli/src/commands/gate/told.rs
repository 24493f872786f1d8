//! A verdict in words and as an event.

use xfer_core::engine::release::Judged;
use xfer_core::gate::coverage::{Found, Said, Tally};
use xfer_core::gate::reason::{At, Lost, Reason};
use xfer_core::gate::verdict::Release;
use xfer_core::location::PlatformMachine;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::path::Escaped;

use super::path_text;
use crate::moment;
use crate::output::amounts;
use crate::output::json::{GateBody, ReasonBody};
use crate::problem::CliError;

/// Paths of one reason that are shown.
const PATHS_SHOWN_MAX: usize = 3;

/// What a destination was found to hold of what is on the machine now.
struct Proven<'a> {
    destination: &'a str,
    tally: Tally,
    /// When it was looked at, in seconds since 1970.
    looked: i64,
}

pub(super) fn released(judged: &Judged, release: &Release, token: Option<&[u8]>) -> GateBody {
    GateBody {
        verdict: "release",
        machine: release.machine.clone(),
        entries: release.entries,
        bytes: release.bytes,
        differences: 0,
        reasons: Vec::new(),
        destinations: release.destinations.keys().cloned().collect(),
        token: token.map(path_text),
        life_s: Some(release.life),
        per_hour: per_hour(judged),
    }
}

pub(super) fn held(judged: &Judged, reasons: &[Reason]) -> GateBody {
    let proven = proven(judged);
    let most = proven.iter().max_by_key(|proven| proven.tally.count);
    GateBody {
        verdict: "hold",
        machine: judged.evidence.machine.name.clone(),
        entries: most.map_or(0, |proven| proven.tally.count),
        bytes: most.map_or(0, |proven| proven.tally.bytes),
        differences: reasons.len() as u64,
        reasons: reasons.iter().map(|reason| reason_body(judged, reason)).collect(),
        destinations: proven.iter().map(|proven| proven.destination.to_owned()).collect(),
        token: None,
        life_s: None,
        per_hour: per_hour(judged),
    }
}

/// A token that was good, or why it is not.
pub(super) fn of_token(
    machine: &PlatformMachine,
    token: &[u8],
    per_hour: Option<f64>,
    refused: Option<&CliError>,
) -> GateBody {
    let reason = |error: &CliError| ReasonBody {
        id: error.reason,
        message: error.what.clone(),
        remedy: error.remedies.first().map(|next| next.text.clone()).unwrap_or_default(),
        ..ReasonBody::default()
    };
    let reasons: Vec<_> = refused.map(reason).into_iter().collect();
    GateBody {
        verdict: if reasons.is_empty() { "release" } else { "hold" },
        machine: machine.to_string(),
        entries: 0,
        bytes: 0,
        differences: reasons.len() as u64,
        reasons,
        destinations: Vec::new(),
        token: Some(path_text(token)),
        life_s: None,
        per_hour,
    }
}

fn reason_body(judged: &Judged, reason: &Reason) -> ReasonBody {
    let mut body = ReasonBody {
        id: reason.id(),
        message: reason.to_string(),
        remedy: remedy(judged, reason),
        ..ReasonBody::default()
    };
    if let Some(At { root, entries }) = at(reason) {
        body.paths =
            entries.examples.iter().map(|path| path_text(&joined(root, path.as_bytes()))).collect();
        (body.entries, body.bytes) = (entries.count, entries.bytes);
    }
    if let Some(Lost { path, count, bytes, digest }) = lost(reason) {
        body.paths = vec![path_text(path)];
        (body.entries, body.bytes) = (*count, *bytes);
        body.digest = digest.map(|digest| digest.to_string());
    }
    match reason {
        Reason::Writer(writer) => {
            body.paths = vec![path_text(&writer.path)];
            body.pid = Some(writer.process.pid);
        }
        Reason::WriterUnknown(Some(process)) => body.pid = Some(process.pid),
        Reason::ForeignWriters(path) | Reason::EmptyRoot(path) => {
            body.paths = vec![path_text(path)]
        }
        Reason::ScanIncomplete { root, .. } => body.paths = vec![path_text(root)],
        // These lie at the destination, and are named by where they are there.
        Reason::NotLoaded { files: Some(files), .. } => {
            body.paths = files.examples.iter().map(|path| path_text(path.as_bytes())).collect();
            (body.entries, body.bytes) = (files.count, files.bytes);
        }
        _ => {}
    }
    body
}

/// Entries that a reason names.
fn at(reason: &Reason) -> Option<&At> {
    match reason {
        Reason::ContentDiffers(at)
        | Reason::NewFile(at)
        | Reason::DestinationDiffers(at)
        | Reason::NotProven { at, .. }
        | Reason::SourceChanging(at) => Some(at),
        _ => None,
    }
}

fn lost(reason: &Reason) -> Option<&Lost> {
    match reason {
        Reason::OutsideChanged(lost) | Reason::UncoveredMount(lost) | Reason::Excluded(lost) => {
            Some(lost)
        }
        _ => None,
    }
}

fn joined(root: &[u8], path: &[u8]) -> Vec<u8> {
    match path {
        b"" => root.to_vec(),
        path if root.ends_with(b"/") => [root, path].concat(),
        path => [root, b"/", path].concat(),
    }
}

/// What there is to do, each thing once.
pub(super) fn remedies(judged: &Judged, reasons: &[Reason]) -> Vec<String> {
    let mut remedies: Vec<String> = Vec::new();
    for reason in reasons {
        let remedy = remedy(judged, reason);
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    remedies
}

/// The same with the names of this machine and of the destination, where one is known.
fn remedy(judged: &Judged, reason: &Reason) -> String {
    let evidence = &judged.evidence;
    let destination = evidence.receipts.first().map(|receipt| &*receipt.destination.name);
    reason.remedy_with(
        &shown(evidence.machine.name.trim_end_matches(':')),
        &shown(destination.unwrap_or("DESTINATION")),
    )
}

/// What is proven, in one line.
pub(super) fn proven_text(release: &Release) -> String {
    let places: Vec<_> = release.destinations.keys().map(String::as_str).collect();
    format!(
        "RELEASE  {} may be destroyed: {} ({}) are proven at {}\n",
        shown(&release.machine),
        amounts::entries(release.entries),
        amounts::bytes(release.bytes),
        shown(&places.join(", ")),
    )
}

pub(super) fn release_text(judged: &Judged, release: &Release, token: Option<&[u8]>) -> String {
    let mut text = proven_text(release);
    let life = amounts::span(std::time::Duration::from_secs(release.life.into()));
    let file = token.map_or_else(|| "FILE".to_owned(), |file| Escaped(file).to_string());
    text += &format!("  token   {file}, good for {life} from now\n");
    if let Some((_, id)) = release.machine.split_once(':')
        && judged.row.is_some()
    {
        let machine = shown(&release.machine);
        text +=
            &format!("  next    xfer destroy {machine} --token {file} --confirm {}\n", shown(id));
    }
    text + &meter(judged, "until it is destroyed")
}

pub(super) fn hold_text(judged: &Judged, reasons: &[Reason]) -> String {
    let machine = shown(judged.evidence.machine.name.trim_end_matches(':'));
    let mut only_there = Tally::default();
    for reason in reasons {
        match reason {
            Reason::SourceChanging(_) => {}
            reason => at(reason).into_iter().for_each(|at| only_there.join(&at.entries)),
        }
    }
    let what = match only_there.count {
        0 if reasons.len() == 1 => "for one reason".to_owned(),
        0 => format!("for {} reasons", reasons.len()),
        1 => format!("1 file ({}) exists nowhere else", amounts::bytes(only_there.bytes)),
        count => {
            let bytes = amounts::bytes(only_there.bytes);
            format!("{} files ({bytes}) exist nowhere else", amounts::count(count))
        }
    };
    let mut text = format!("HOLD  do not destroy {machine}: {what}\n");
    let width = reasons.iter().map(|reason| reason.id().len()).max().unwrap_or_default();
    for (number, reason) in reasons.iter().enumerate() {
        let id = reason.id();
        text += &format!("{:>3} {id:<width$}  {}\n", number + 1, detail(judged, reason));
    }
    for Proven { destination, tally, looked } in proven(judged) {
        let time = moment::format(Timestamp { seconds: looked, nanoseconds: 0 });
        let time = time.get(11..19).unwrap_or_default();
        text += &format!(
            "  proven  {}, {}, read back {time} at {}\n",
            amounts::entries(tally.count),
            amounts::bytes(tally.bytes),
            shown(destination)
        );
    }
    for remedy in remedies(judged, reasons).iter().take(1) {
        text += &format!("  next    {remedy}\n");
    }
    text + &meter(judged, "xfer never destroys on Hold") + "  exit 20\n"
}

/// One reason in one line.
fn detail(judged: &Judged, reason: &Reason) -> String {
    if let Some(At { root, entries }) = at(reason) {
        let whole = |path: &[u8]| joined(root, path);
        return match entries.examples.is_empty() {
            true => format!("{}: {}", Escaped(root), amounts::entries(entries.count)),
            false => paths_of(entries, whole),
        };
    }
    if let Reason::NotLoaded { files: Some(files), .. } = reason {
        return format!("{reason}: {}", paths_of(files, <[u8]>::to_vec));
    }
    if let Some(Lost { path, count, bytes, .. }) = lost(reason) {
        let (path, entries) = (Escaped(path), amounts::entries(*count));
        let remedy = remedy(judged, reason);
        // Of what is left out only the names are known.
        let bytes = match reason {
            Reason::Excluded(_) => "sizes not known".to_owned(),
            _ => amounts::bytes(*bytes),
        };
        return format!("{path} ({bytes}, {entries})   {remedy}");
    }
    reason.to_string()
}

/// The first paths of entries, and how many more there are.
fn paths_of(entries: &Tally, whole: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let shown = entries.examples.iter().take(PATHS_SHOWN_MAX);
    let paths: Vec<_> = shown.map(|path| Escaped(&whole(path.as_bytes())).to_string()).collect();
    match entries.count.saturating_sub(paths.len() as u64) {
        0 => paths.join("  "),
        rest => format!("{} and {} more", paths.join("  "), amounts::count(rest)),
    }
}

/// What each destination was found to hold.
fn proven(judged: &Judged) -> Vec<Proven<'_>> {
    let mut all: Vec<Proven<'_>> = Vec::new();
    for (at, receipt) in judged.evidence.receipts.iter().enumerate() {
        let Some(statement) = &receipt.destination.statement else { continue };
        let scans = judged.evidence.roots.iter().filter_map(|root| root.scan.as_ref().ok());
        let groups = scans.flat_map(|scan| &scan.coverage.groups);
        let is_there = |said, found| {
            matches!(said, Said::Equal(_))
                && matches!(found, Found::Read | Found::Cached | Found::Pinned | Found::Checksum)
        };
        let mut tally = Tally::default();
        for (claims, group) in groups {
            if claims.get(at).is_some_and(|claim| is_there(claim.said, claim.found)) {
                tally.join(group);
            }
        }
        if tally.count > 0 {
            let (destination, looked) = (&*receipt.destination.name, statement.began.day);
            all.push(Proven { destination, tally, looked });
        }
    }
    all
}

/// What it costs meanwhile, where a platform says that.
fn meter(judged: &Judged, more: &str) -> String {
    match per_hour(judged) {
        Some(price) => format!("  meter   ${price:.2}/h running; {more}\n"),
        None => String::new(),
    }
}

fn per_hour(judged: &Judged) -> Option<f64> {
    judged.row.as_ref().and_then(|row| row.prices.running_per_hour)
}

fn shown(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}
