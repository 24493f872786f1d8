//! Letting another machine log in here, to deliver to one session and for nothing else.
//!
//! Its key stands in the user's `authorized_keys` as long as the controller needs it, seconds as a
//! rule, and runs one command whatever is asked. The agent of the session takes it back at its end;
//! where that was killed, the next agent on this machine does.

use std::io;
use std::path::{Path, PathBuf};

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::hello::SessionId;
use xfer_protocol::message::passage::Lend;
use xfer_protocol::path::RelPath;

use crate::disk::{authorized_keys, handover};

/// The file's directory lies in there.
fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

/// Lets whoever has the key deliver to its session.
pub(super) async fn lend(lend: Lend) -> Result<(), Fault> {
    let refused = |kind| Fault::new(kind, Operation::Write, RelPath::root());
    let (Some(home), Some(line)) = (home(), line(&lend, &program())) else {
        return Err(refused(FaultKind::Unsupported));
    };
    let session = hex(&lend.session.0);
    let unique = unique();
    let added = tokio::task::spawn_blocking(move || {
        // What an earlier one of the same session may have left is not doubled.
        authorized_keys::remove(&home, |other| other == session, unique)?;
        authorized_keys::add(&home, &session, &line, unique)
    });
    match added.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(match error.raw_os_error() {
            Some(number) => refused(FaultKind::Io).with_errno(number),
            None => refused(FaultKind::Io),
        }),
        Err(_) => Err(refused(FaultKind::Io)),
    }
}

/// Takes back what was lent to a session.
pub(super) async fn reclaim(session: SessionId) -> Result<(), Fault> {
    let name = hex(&session.0);
    let taken = take_back(move |other| other == name).await;
    taken.map_err(|_| Fault::new(FaultKind::Io, Operation::Write, RelPath::root()))
}

/// Takes back what sessions left whose agents are gone.
pub(super) async fn reclaim_all_left() -> io::Result<()> {
    take_back(|session| !handover::is_heard(session)).await
}

async fn take_back(is_over: impl Fn(&str) -> bool + Send + 'static) -> io::Result<()> {
    let Some(home) = home() else { return Ok(()) };
    let unique = unique();
    let taken =
        tokio::task::spawn_blocking(move || authorized_keys::remove(&home, is_over, unique));
    taken.await.map_err(io::Error::other).flatten()
}

/// Where this program can be started from.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    if own.is_absolute() && own.as_os_str().as_encoded_bytes().iter().all(is_plain) {
        own
    } else {
        PathBuf::from(format!("/proc/{}/exe", std::process::id()))
    }
}

/// The line that lets the key in; nothing where it would let it in from anywhere.
fn line(lend: &Lend, program: &Path) -> Option<String> {
    if lend.from.is_empty() || lend.expires.len() != 14 {
        return None;
    }
    let from: Vec<String> = lend.from.iter().map(ToString::to_string).collect();
    let (mark, session) = (hex(&lend.mark), hex(&lend.session.0));
    let arguments = format!("agent --sentinel {mark} --session {session} --join --deliveries");
    Some(format!(
        "restrict,command=\"{} {arguments}\",from=\"{}\",expiry-time=\"{}\" {}",
        program.display(),
        from.join(","),
        lend.expires,
        lend.key
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// No other call's number, but for chance.
fn unique() -> u64 {
    getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_allows_one_command_from_one_place_for_a_while() {
        let lend = Lend {
            session: SessionId([0xab; 16]),
            key: "ssh-ed25519 AAAA".to_owned(),
            from: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
            expires: "20261231235959".to_owned(),
            mark: [1; 32],
        };
        let text = line(&lend, Path::new("/srv/cache/agent-1")).unwrap();
        let (mark, session) = ("01".repeat(32), "ab".repeat(16));
        let expected = format!(
            "restrict,command=\"/srv/cache/agent-1 agent --sentinel {mark} --session \
             {session} --join --deliveries\",from=\"192.0.2.7,2001:db8::7\",\
             expiry-time=\"20261231235959\" ssh-ed25519 AAAA"
        );
        assert_eq!(text, expected);
        assert_eq!(line(&Lend { from: vec![], ..lend.clone() }, Path::new("/x")), None);
        assert_eq!(line(&Lend { expires: "2026".to_owned(), ..lend }, Path::new("/x")), None);
    }
}
