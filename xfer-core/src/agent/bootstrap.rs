//! Getting the agent there: placed by its digest, checked before every start, started behind a
//! sentinel.
//!
//! A tool of the far side checks it. Where there is none it is read back over the link instead,
//! once in a session, and further streams of that session start what was read.
//!
//! Nothing from a tree or a user is ever part of a command: only hexadecimal that we made. The
//! scripts keep to what any shell passes on to `sh` within single quotes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xfer_protocol::hello::{Sentinel, SessionId};

use super::binary::{AgentBinary, BinaryError, MachineKind, Programs, find, own_kind};
use super::in_memory;
use super::stdio::OPENING_VARIABLE;
use crate::options::TransferOptions;
use crate::transport::Stream;
use crate::transport::ssh::{ChannelUse, Exec, SshConnection, SshError};

/// How long the far shell may take until the agent speaks.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Silence of the far shell after which it is asked whether it runs anything at all.
const SILENCE: Duration = Duration::from_secs(2);

/// Bytes that are said to an agent as it is started, where each is two characters of a command:
/// Dropbear takes commands of up to 9,000.
pub const OPENING_BYTES_MAX: usize = 2048;

/// Bytes that the answer to that may have, what login scripts print included.
const PROBE_BYTES_MAX: usize = 64 * 1024;

/// Where a program may be kept, most lasting first. Each is made with mode 0700 and must be ours.
const DIRECTORIES: &str = concat!(
    "\"${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/xfer\" \"/dev/shm/xfer-$(id -u)\" ",
    "\"/tmp/xfer-$(id -u)\" \"${HOME:-/nonexistent}/.xfer\" \"/var/tmp/xfer-$(id -u)\""
);

/// Why no agent runs on a machine.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// There is no program for it.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// The login itself failed.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// It was placed nowhere: no directory takes it, or none lets it run.
    #[error("no directory there takes a program and lets it run: {said}")]
    Nowhere {
        /// The last words of the far side, shortened.
        said: String,
    },
    /// No command that is sent there is run.
    #[error("the far side runs none of our commands")]
    NothingRuns,
    /// What answered is not our program.
    #[error("the far shell did not start it: {said}")]
    NotStarted {
        /// The last words of the far side, shortened.
        said: String,
    },
}

impl BootstrapError {
    /// Whether it may be that no program of ours is ever run there.
    #[must_use]
    pub fn nothing_runs(&self) -> bool {
        match self {
            Self::Nowhere { .. } | Self::NothingRuns | Self::NotStarted { .. } => true,
            Self::Ssh(error) => {
                matches!(error, SshError::Channel { wanted: ChannelUse::Command, .. })
            }
            Self::Binary(_) => false,
        }
    }
}

/// What the agent is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The session that it serves.
    pub session: SessionId,
    /// Two random marks: one for the agent, one for the script that finds none.
    pub sentinels: [[u8; 16]; 2],
    /// Silence after which it ends itself.
    pub silence: Duration,
    /// Joins a session instead of beginning one.
    pub join: bool,
    /// What is said to it first; few enough bytes for a command.
    pub opening: Vec<u8>,
    /// What was found to be started.
    pub programs: Programs,
}

/// A started agent.
pub struct Started {
    /// Its stdin and stdout.
    pub stream: Stream,
    /// Keeps the channel open and knows its last words.
    pub exec: ExecRest,
}

/// What is left of a command once its stream is taken.
pub type ExecRest = crate::transport::ssh::StderrTail;

/// Looks for the program that most machines take, while nothing else is to be done.
pub(crate) fn foresee(options: &TransferOptions, start: &Start) {
    let (named, programs) = (options.network.agent_binary.clone(), start.programs.clone());
    tokio::task::spawn_blocking(move || {
        // Whoever needs it looks again, and is told why there is none.
        let _found = program(named.as_deref(), &programs, &own_kind());
    });
}

fn program(
    named: Option<&Path>,
    programs: &Programs,
    kind: &MachineKind,
) -> Result<AgentBinary, BinaryError> {
    let directory = std::env::var_os("XFER_AGENT_DIR").map(PathBuf::from);
    programs.of(kind, |kind| find(named, directory.as_deref(), kind))
}

/// Starts the agent on a machine, placing it first where it is not there yet.
pub async fn start(
    connection: &SshConnection,
    options: &TransferOptions,
    start: &Start,
) -> Result<Started, BootstrapError> {
    let named = options.network.agent_binary.as_deref();
    let find = |kind: &MachineKind| program(named, &start.programs, kind);
    // Most far machines are of the kind that this program was built for; if not, the script says
    // so.
    let guess = find(&own_kind()).ok();
    let tool = Check::Tool;
    let binary = match try_start(connection, guess.as_ref(), options, start, tool).await? {
        Attempt::Started(started) => return Ok(started),
        Attempt::Missing(kind) => find(&kind)?,
        Attempt::Unchecked(kind) => {
            let binary = find(&kind)?;
            if let Some(started) = start_unchecked(connection, &binary, options, start).await? {
                return Ok(started);
            }
            binary
        }
    };
    if let Err(nowhere) = place(connection, &binary, start).await {
        return start_in_memory(connection, &binary, options, start).await.ok_or(nowhere);
    }
    let placed = match try_start(connection, Some(&binary), options, start, tool).await? {
        Attempt::Started(started) => Some(started),
        Attempt::Missing(_) => None,
        Attempt::Unchecked(_) => start_unchecked(connection, &binary, options, start).await?,
    };
    placed.ok_or_else(|| BootstrapError::Nowhere { said: "it was placed and is gone".to_owned() })
}

/// Starts a program that is there where no tool can check it, unless it is another one.
async fn start_unchecked(
    connection: &SshConnection,
    binary: &AgentBinary,
    options: &TransferOptions,
    start: &Start,
) -> Result<Option<Started>, BootstrapError> {
    if !start.join && !is_read_back(connection, binary, start).await? {
        return Ok(None);
    }
    match try_start(connection, Some(binary), options, start, Check::ReadBack).await? {
        Attempt::Started(started) => Ok(Some(started)),
        Attempt::Missing(_) | Attempt::Unchecked(_) => Ok(None),
    }
}

/// Whether the program that would be started is ours, read over the link.
async fn is_read_back(
    connection: &SshConnection,
    binary: &AgentBinary,
    start: &Start,
) -> Result<bool, BootstrapError> {
    let mark = missing_mark(start);
    let whole = [&mark[..], &binary.read()?, &mark].concat();
    let script = read_script(binary.sha256(), start);
    let limit = whole.len().saturating_add(PROBE_BYTES_MAX);
    let said = connection.run(script, Bytes::new(), limit).await?.stdout;
    // What a login script prints comes before.
    let found = said.windows(mark.len()).position(|window| window == mark);
    Ok(found.is_some_and(|at| said[at..].starts_with(&whole)))
}

/// How a program is checked before it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// By a tool of the far side.
    Tool,
    /// It was read back in this session, because there is no tool.
    ReadBack,
}

enum Attempt {
    Started(Started),
    /// It is not there.
    Missing(MachineKind),
    /// Something is there under its name, and nothing to check it with.
    Unchecked(MachineKind),
}

async fn try_start(
    connection: &SshConnection,
    binary: Option<&AgentBinary>,
    options: &TransferOptions,
    start: &Start,
    check: Check,
) -> Result<Attempt, BootstrapError> {
    let sha256 = binary.map_or("none", AgentBinary::sha256);
    let exec = connection.exec(start_script(sha256, options, start, check)).await?;
    let waiting = tokio::time::timeout(START_DEADLINE, await_sentinel(exec, start));
    let silent = async {
        tokio::time::sleep(SILENCE).await;
        // While that is not known, the answer may still come.
        if !nothing_runs(connection, start).await {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        waited = waiting => match waited {
            Ok(attempt) => attempt,
            Err(_) => Err(BootstrapError::NotStarted { said: "it took too long".to_owned() }),
        },
        () = silent => Err(BootstrapError::NothingRuns),
    }
}

/// Whether a command that any shell runs has no effect: a server that runs one program of its own,
/// whatever is asked, ends with its input and prints nothing of it.
async fn nothing_runs(connection: &SshConnection, start: &Start) -> bool {
    let mark = hex(&missing_mark(start));
    let said = connection.run(format!("echo {mark}"), Bytes::new(), PROBE_BYTES_MAX).await;
    said.is_ok_and(|output| !output.stdout.windows(mark.len()).any(|w| w == mark.as_bytes()))
}

/// Starts a program that no directory takes; `None` where that machine has no means for it.
async fn start_in_memory(
    connection: &SshConnection,
    binary: &AgentBinary,
    options: &TransferOptions,
    start: &Start,
) -> Option<Started> {
    let script = memory_script(binary.length(), binary.sha256(), options, start);
    let program = binary.read().ok()?;
    let mut exec = connection.exec(script).await.ok()?;
    let ended = Stream::new(tokio::io::empty(), tokio::io::sink());
    let mut writer = std::mem::replace(&mut exec.stream.writer, ended.writer);
    let attempt = {
        let upload = async {
            // Where nothing takes it, what was printed instead tells so.
            let _taken = writer.write_all(&program).await;
            let _taken = writer.flush().await;
            tokio::time::sleep(START_DEADLINE).await;
        };
        tokio::select! {
            attempt = await_sentinel(exec, start) => attempt.ok(),
            () = upload => None,
        }
    };
    let Some(Attempt::Started(mut started)) = attempt else { return None };
    started.stream.writer = writer;
    Some(started)
}

/// Reads past what the login shell printed, to the agent's mark or the script's.
async fn await_sentinel(mut exec: Exec, start: &Start) -> Result<Attempt, BootstrapError> {
    let agent = Sentinel(agent_mark(start));
    let missing = Sentinel(missing_mark(start));
    let (mut agent, mut missing) = (agent.scan(), missing.scan());
    let mut noise = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        // Not a byte further: the agent goes on with the answers to its opening.
        let wanted = agent.missing();
        let read = exec.stream.reader.read(&mut buffer[..wanted]).await.unwrap_or(0);
        let input = &buffer[..read];
        if read == 0 {
            return Err(not_started(&exec, &noise));
        }
        let Ok(found) = agent.feed(input) else { return Err(not_started(&exec, &noise)) };
        if found == Some(read) {
            return Ok(Attempt::Started(Started { stream: exec.stream, exec: exec.stderr }));
        }
        let Ok(found_missing) = missing.feed(input) else {
            return Err(not_started(&exec, &noise));
        };
        if let Some(at) = found_missing {
            let mut line = input[at..].to_vec();
            while !line.contains(&b'\n') && line.len() < 256 {
                match exec.stream.reader.read(&mut buffer).await {
                    Ok(read) if read > 0 => line.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
            return Ok(match line.trim_ascii_end().strip_suffix(b" unchecked") {
                Some(line) => Attempt::Unchecked(machine_kind(line)),
                None => Attempt::Missing(machine_kind(&line)),
            });
        }
        let room = 512_usize.saturating_sub(noise.len());
        noise.extend_from_slice(&input[..read.min(room)]);
    }
}

fn not_started(exec: &Exec, noise: &[u8]) -> BootstrapError {
    let stderr = exec.stderr.bytes();
    let said = if stderr.is_empty() { noise } else { &stderr };
    BootstrapError::NotStarted { said: shortened(said) }
}

/// Uploads the program to the first directory that takes it and lets it run.
async fn place(
    connection: &SshConnection,
    binary: &AgentBinary,
    start: &Start,
) -> Result<(), BootstrapError> {
    let (mut said, program) = (String::new(), binary.read()?);
    for directory in DIRECTORIES.split("\" \"").map(|d| d.trim_matches(|c| c == '"' || c == ' ')) {
        let script = place_script(directory, binary.sha256(), &hex(&start.sentinels[1]));
        let output = connection.run(script, Bytes::clone(&program), 4096).await?;
        if output.status == Some(0) {
            return Ok(());
        }
        said = shortened(&output.stderr);
    }
    Err(BootstrapError::Nowhere { said })
}

/// Looks for the program in every directory, checks it with whatever tool is there, the fastest
/// first, and becomes it.
fn start_script(sha256: &str, options: &TransferOptions, start: &Start, check: Check) -> String {
    let arguments = arguments(options, start);
    let missing = String::from_utf8_lossy(&missing_mark(start)).into_owned();
    let become_it = format!("exec \"$f\" {arguments}");
    let cases = match check {
        Check::Tool => format!("{sha256}*) {become_it};; \"\") u=\" unchecked\";;"),
        Check::ReadBack => format!("\"\"|{sha256}*) {become_it};;"),
    };
    let search = search_script(sha256, &cases);
    let export = export(start);
    format!("exec sh -c '{export}u=; {search} echo \"{missing} $(uname -sm)$u\"'")
}

/// Has an interpreter take the program into memory and become it.
fn memory_script(length: usize, sha256: &str, options: &TransferOptions, start: &Start) -> String {
    let missing = String::from_utf8_lossy(&missing_mark(start)).into_owned();
    let arguments = arguments(options, start);
    in_memory::script(length, sha256, &export(start), &arguments, &missing)
}

/// Prints the program that would be started, between marks.
fn read_script(sha256: &str, start: &Start) -> String {
    let mark = String::from_utf8_lossy(&missing_mark(start)).into_owned();
    let print = format!("printf %s {mark}; cat \"$f\"; printf %s {mark}; exit 0");
    let search = search_script(sha256, &format!("\"\"|{sha256}*) {print};;"));
    format!("exec sh -c '{search}'")
}

/// Goes through every program of that name, and through the cases of its digest, which is empty
/// where no tool tells it.
fn search_script(sha256: &str, cases: &str) -> String {
    let name = in_memory::name(sha256);
    let running = in_memory::running(sha256);
    format!(
        "for d in {DIRECTORIES} /proc; do f=\"$d/{name}\"; \
         if [ \"$d\" = /proc ]; then set -- {running}; f=\"$1\"; fi; \
         if [ -x \"$f\" ] && [ -O \"$f\" ]; then \
         s=$(openssl dgst -sha256 -r \"$f\" 2>/dev/null || sha256sum \"$f\" 2>/dev/null || \
         busybox sha256sum \"$f\" 2>/dev/null || shasum -a 256 \"$f\" 2>/dev/null); \
         case \"$s\" in {cases} esac; fi; done;"
    )
}

/// The command line of the agent.
fn arguments(options: &TransferOptions, start: &Start) -> String {
    let mut arguments = format!(
        "agent --sentinel {} --session {} --silence {} --home",
        hex(&agent_mark(start)),
        hex(&start.session.0),
        start.silence.as_secs().max(1),
    );
    let preserve = &options.preserve;
    let flags = [
        (start.join, " --join"),
        (!start.opening.is_empty(), " --opening"),
        (preserve.owner, " --owner"),
        (preserve.devices, " --devices"),
        (!preserve.times, " --no-times"),
        (preserve.xattrs, " --xattrs"),
        (preserve.acls, " --acls"),
    ];
    for (_, flag) in flags.iter().filter(|(set, _)| *set) {
        arguments.push_str(flag);
    }
    arguments
}

/// Has the agent find its opening in its environment, which other users cannot read.
fn export(start: &Start) -> String {
    if start.opening.is_empty() {
        return String::new();
    }
    format!("export {OPENING_VARIABLE}={}; ", hex(&start.opening))
}

/// Writes the program beside its name, checks it where a tool is there, shows that it runs, renames
/// it, and keeps the newest two.
fn place_script(directory: &str, sha256: &str, unique: &str) -> String {
    let name = &sha256[..32];
    format!(
        "exec sh -c 'umask 077; d=\"{directory}\"; mkdir -p \"$d\" && [ -O \"$d\" ] && \
         [ ! -L \"$d\" ] && chmod 700 \"$d\" || exit 1; t=\"$d/.up-{unique}\"; \
         trap \"rm -f \\\"$t\\\"\" EXIT HUP INT TERM; set -C; cat > \"$t\" || exit 2; set +C; \
         chmod 700 \"$t\"; s=$(sha256sum \"$t\" 2>/dev/null || \
         openssl dgst -sha256 -r \"$t\" 2>/dev/null || busybox sha256sum \"$t\" 2>/dev/null || \
         shasum -a 256 \"$t\" 2>/dev/null); \
         case \"$s\" in \"\"|{sha256}*) ;; *) exit 3;; esac; \
         \"$t\" --version >/dev/null || exit 4; mv -f \"$t\" \"$d/agent-{name}\" || exit 5; \
         ls -t \"$d\" | grep \"^agent-\" | tail -n +3 | while read -r o; do rm -f \"$d/$o\"; done; \
         exit 0'"
    )
}

/// The agent prints these 32 bytes; its command line holds their hexadecimal, which is something
/// else.
fn agent_mark(start: &Start) -> [u8; 32] {
    *blake3::hash(&start.sentinels[0]).as_bytes()
}

/// The script prints these 32 characters.
fn missing_mark(start: &Start) -> [u8; 32] {
    let mut mark = [0; 32];
    mark.copy_from_slice(hex(&start.sentinels[1]).as_bytes());
    mark
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn machine_kind(line: &[u8]) -> MachineKind {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_whitespace().map(ToOwned::to_owned);
    MachineKind {
        system: words.next().unwrap_or_default(),
        architecture: words.next().unwrap_or_default(),
    }
}

/// The last words, fit to be shown.
fn shortened(said: &[u8]) -> String {
    let tail = &said[said.len().saturating_sub(400)..];
    xfer_protocol::path::Escaped(tail.trim_ascii()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(opening: usize) -> Start {
        Start {
            session: SessionId([1; 16]),
            sentinels: [[2; 16], [3; 16]],
            silence: Duration::from_secs(30),
            join: false,
            opening: vec![0xab; opening],
            programs: Programs::default(),
        }
    }

    #[test]
    fn every_ssh_server_takes_the_longest_command() {
        let sha256 = "f".repeat(64);
        let start = start(OPENING_BYTES_MAX);
        let script = start_script(&sha256, &TransferOptions::default(), &start, Check::Tool);
        assert!(script.len() < 9000, "{} characters", script.len());
        let in_memory = memory_script(usize::MAX, &sha256, &TransferOptions::default(), &start);
        assert!(in_memory.len() < 9000, "{} characters", in_memory.len());
    }

    /// The opening names paths, and the command line of a process may be read by anybody there.
    #[test]
    fn an_agents_command_line_tells_nothing_of_its_opening() {
        let (sha256, options) = ("f".repeat(64), TransferOptions::default());
        let scripts = [
            start_script(&sha256, &options, &start(9), Check::Tool),
            memory_script(1, &sha256, &options, &start(9)),
        ];
        for script in scripts {
            let (before, after) = script.split_once(&"ab".repeat(9)).unwrap();
            assert!(before.ends_with("export XFER_OPENING="), "{before}");
            assert!(after.starts_with("; ") && !after.contains("abab"), "{after}");
            assert!(after.contains(" --opening"), "{after}");
        }
        assert!(!start_script(&sha256, &options, &start(0), Check::Tool).contains("OPENING"));
    }
}
