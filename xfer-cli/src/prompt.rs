//! Questions to the person at the terminal, asked on the terminal itself, whatever is redirected.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use xfer_core::disk::named::open_terminal;
use xfer_core::transport::ssh::{
    HostKeyAnswer, HostKeyQuestion, Passphrase, PassphraseQuestion, Prompt,
};
use xfer_protocol::path::Escaped;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 1024;

/// Attempts at a passphrase, as ssh grants them.
const PASSPHRASES_MAX: u32 = 3;

/// Asks, unless it was told not to.
#[derive(Debug)]
pub(crate) struct TerminalPrompt {
    asks: bool,
}

impl TerminalPrompt {
    /// One that asks if `asks`.
    pub(crate) fn new(asks: bool) -> Self {
        Self { asks }
    }

    /// The line that is typed in answer; `None` where there is nobody to type one.
    pub(crate) fn ask(&self, question: &str, secret: bool) -> Option<String> {
        if !self.asks {
            return None;
        }
        let terminal = open_terminal().ok()?;
        write_all(&terminal, question.as_bytes())?;
        let hidden = if secret { Some(Hidden::new(&terminal)?) } else { None };
        let answer = read_line(&terminal);
        if hidden.is_some() {
            write_all(&terminal, b"\n")?;
        }
        answer
    }
}

impl Prompt for TerminalPrompt {
    fn accept_host_key(&self, question: &HostKeyQuestion) -> HostKeyAnswer {
        let shown = |text: &str| Escaped(text.as_bytes()).to_string();
        let mut text = format!(
            "xfer: the host key of {} is not known\n  {:<9} {} {}\n",
            shown(&question.host),
            "offered",
            shown(&question.algorithm),
            shown(&question.fingerprint),
        );
        for other in &question.other_keys {
            text.push_str(&format!("  {:<9} {}\n", "known", shown(other)));
        }
        text.push_str("Compare it with what the host's owner says. Trust it (yes/no)? ");
        loop {
            match self.ask(&text, false).as_deref().map(str::trim) {
                None => return HostKeyAnswer::NobodyToAsk,
                Some("yes") => return HostKeyAnswer::Accept,
                Some("no" | "") => return HostKeyAnswer::Decline,
                Some(answer) if answer == question.fingerprint => return HostKeyAnswer::Accept,
                Some(_) => "Please type yes, no or the fingerprint: ".clone_into(&mut text),
            }
        }
    }

    fn passphrase(&self, question: &PassphraseQuestion<'_>) -> Option<Passphrase> {
        if question.failures >= PASSPHRASES_MAX {
            return None;
        }
        let text = format!("Passphrase of {}: ", shown_path(question.key));
        let answer = self.ask(&text, true).filter(|answer| !answer.is_empty())?;
        Some(Passphrase::new(answer))
    }
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden<'a> {
    terminal: &'a OwnedFd,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(terminal: &'a OwnedFd) -> Option<Self> {
        let before = tcgetattr(terminal).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent).ok()?;
        Some(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _gone = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

fn shown_path(path: &Path) -> Escaped<'_> {
    Escaped(path.as_os_str().as_encoded_bytes())
}

fn write_all(terminal: &OwnedFd, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        let count = rustix::io::write(terminal, bytes).ok()?;
        bytes = &bytes[count..];
    }
    Some(())
}

fn read_line(terminal: &OwnedFd) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < ANSWER_BYTES_MAX {
        match rustix::io::read(terminal, &mut byte[..]) {
            Ok(1) if byte[0] == b'\n' => return String::from_utf8(line).ok(),
            Ok(1) => line.push(byte[0]),
            _ => return None,
        }
    }
    None
}
