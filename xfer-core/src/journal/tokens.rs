//! Which tokens a state directory issued and spent.
//!
//! `FORMAT.md` beside this file draws what is kept. A token is spendable where its unspent record
//! is, and spending is one durable rename: of two processes, before or after a crash, one at most
//! finds it unspent.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use xfer_protocol::limits::SURVEY_ROOTS_MAX;

use crate::disk::lock::{LockMode, lock};
use crate::disk::state::{LockFile, StateDirectory, StateError};

/// Bytes of the roots of a token, as they are kept.
const ROOTS_BYTES_MAX: u64 = 16 << 20;

/// Bytes of a token's text that are read again.
const TEXT_KEPT_MAX: u64 = 4096;

/// Why a token's record cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The directory or a file in it cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another process holds the token.
    #[error("another process holds this token")]
    Busy,
    /// There is no such token here: another state directory issued it, or its issue was cut short.
    #[error("no such token was issued from this state directory")]
    NotIssued,
    /// What is kept beside it cannot be read.
    #[error("the record of the token's roots is damaged")]
    Damaged,
}

/// The records of tokens.
#[derive(Debug)]
pub struct TokenRecords(StateDirectory);

/// What is recorded of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRecord {
    /// Nothing.
    Absent,
    /// It was issued.
    Unspent,
    /// It was spent.
    Spent,
}

impl TokenRecords {
    /// Those of a state directory.
    ///
    /// # Errors
    /// When their directory cannot be made.
    pub fn of(state: &StateDirectory) -> Result<Self, StateError> {
        state.child("tokens").map(Self)
    }

    /// Records a token as unspent, with its text and the absolute paths of the roots that it was
    /// issued for; durable when this returns. Only then may the text be given to anybody. `name`
    /// and `unique` are random.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn issue(
        &self,
        name: &[u8; 32],
        text: &str,
        roots: &[Vec<u8>],
        unique: u64,
    ) -> Result<(), StateError> {
        let mut file = self.0.create(&file_name(name, "roots"), unique)?;
        for root in roots {
            file.write((STANDARD.encode(root) + "\n").as_bytes())?;
        }
        file.commit(true)?;
        let mut file = self.0.create(&file_name(name, "unspent"), unique)?;
        file.write(text.as_bytes())?;
        file.commit(true).map(drop)
    }

    /// The texts of all tokens that were spent here; what cannot be read is left out.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn spent(&self) -> Result<Vec<Vec<u8>>, StateError> {
        let mut texts = Vec::new();
        for name in self.0.names()?.iter().filter(|name| name.ends_with(".spent")) {
            let Some(file) = self.0.read(name)? else { continue };
            let mut text = Vec::new();
            if file.take(TEXT_KEPT_MAX).read_to_end(&mut text).is_ok() {
                texts.push(text);
            }
        }
        Ok(texts)
    }

    /// Takes hold of a token, until the result is dropped: one process alone has it.
    ///
    /// # Errors
    /// `Busy` while another has it.
    pub fn hold(&self, name: &[u8; 32]) -> Result<HeldToken<'_>, TokenError> {
        let turn = self.0.lock_file(&file_name(name, "lock"))?;
        lock(&turn, LockMode::Exclusive).map_err(|_| TokenError::Busy)?;
        Ok(HeldToken { records: &self.0, name: *name, _turn: turn })
    }
}

/// A token that this process alone has hold of.
#[derive(Debug)]
pub struct HeldToken<'a> {
    records: &'a StateDirectory,
    name: [u8; 32],
    _turn: LockFile,
}

impl HeldToken<'_> {
    /// What is recorded of it. A spent record counts, whatever else is there.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn record(&self) -> Result<TokenRecord, StateError> {
        let is_there = |state| Ok(self.records.read(&file_name(&self.name, state))?.is_some());
        Ok(if is_there("spent")? {
            TokenRecord::Spent
        } else if is_there("unspent")? {
            TokenRecord::Unspent
        } else {
            TokenRecord::Absent
        })
    }

    /// The roots that it was issued for. The token is bound to them by a digest, so another list
    /// than was kept fits nothing.
    ///
    /// # Errors
    /// `Damaged` where there is none that can be read whole.
    pub fn roots(&self) -> Result<Vec<Vec<u8>>, TokenError> {
        let file = self.records.read(&file_name(&self.name, "roots"))?;
        let mut text = String::new();
        let mut whole = file.ok_or(TokenError::Damaged)?.take(ROOTS_BYTES_MAX);
        whole.read_to_string(&mut text).map_err(|_| TokenError::Damaged)?;
        let lines = text.strip_suffix('\n').unwrap_or_default().split('\n');
        let roots = lines.take(SURVEY_ROOTS_MAX + 1).map(|line| STANDARD.decode(line).ok());
        let roots: Vec<_> = roots.collect::<Option<_>>().ok_or(TokenError::Damaged)?;
        let is_root = |root: &Vec<u8>| root.starts_with(b"/");
        let is_whole = roots.len() <= SURVEY_ROOTS_MAX && roots.iter().all(is_root);
        if is_whole { Ok(roots) } else { Err(TokenError::Damaged) }
    }

    /// Spends it; durable when this returns. One that was spent already stays so, and is made
    /// durable again: a crash may have come before the sync.
    ///
    /// # Errors
    /// `NotIssued` where there is no record of it; else when the system refuses, after which it may
    /// be spent or not, and only [`Self::record`] tells.
    pub fn spend(&self) -> Result<(), TokenError> {
        match self.record()? {
            TokenRecord::Absent => Err(TokenError::NotIssued),
            TokenRecord::Spent => Ok(self.records.sync()?),
            TokenRecord::Unspent => {
                let names = ["unspent", "spent"].map(|state| file_name(&self.name, state));
                Ok(self.records.rename(&names[0], &names[1])?)
            }
        }
    }
}

fn file_name(name: &[u8; 32], state: &str) -> String {
    let digits: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}.{state}")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests stand crashes up by hand")]

    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    const NAME: [u8; 32] = [7; 32];

    fn roots() -> Vec<Vec<u8>> {
        vec![b"/workspace".to_vec(), b"/a\n\xff b".to_vec()]
    }

    fn opened(directory: &Path) -> TokenRecords {
        TokenRecords::of(&StateDirectory::open(&directory.join("state")).unwrap()).unwrap()
    }

    fn file(directory: &Path, state: &str) -> PathBuf {
        directory.join("state/tokens").join(file_name(&NAME, state))
    }

    #[test]
    fn a_token_is_issued_then_spent_and_stays_spent() {
        let directory = tempfile::tempdir().unwrap();
        let records = opened(directory.path());
        let held = records.hold(&NAME).unwrap();
        assert_eq!(held.record().unwrap(), TokenRecord::Absent);
        assert!(matches!(held.spend(), Err(TokenError::NotIssued)));
        records.issue(&NAME, "text\n", &roots(), 1).unwrap();
        assert_eq!(held.record().unwrap(), TokenRecord::Unspent);
        held.spend().unwrap();
        assert_eq!(held.record().unwrap(), TokenRecord::Spent);
        held.spend().unwrap();
        assert_eq!(held.record().unwrap(), TokenRecord::Spent);
        assert_eq!(fs::read(file(directory.path(), "spent")).unwrap(), b"text\n");
        assert!(!file(directory.path(), "unspent").exists());
    }

    #[test]
    fn the_roots_of_a_token_are_kept_or_missed() {
        let directory = tempfile::tempdir().unwrap();
        let records = opened(directory.path());
        records.issue(&NAME, "text\n", &roots(), 1).unwrap();
        let held = records.hold(&NAME).unwrap();
        assert_eq!(held.roots().unwrap(), roots());
        held.spend().unwrap();
        assert_eq!(held.roots().unwrap(), roots());
        for damaged in ["", "\n", "L3Jvb3Q=", "L3Jvb3Q\n", "cm9vdA==\n", "L3Jvb3Q=\n\n", "\u{e9}\n"]
        {
            fs::write(file(directory.path(), "roots"), damaged).unwrap();
            assert!(matches!(held.roots(), Err(TokenError::Damaged)), "{damaged:?}");
        }
        let line = "L3Jvb3Q=\n";
        fs::write(file(directory.path(), "roots"), line.repeat(SURVEY_ROOTS_MAX)).unwrap();
        assert_eq!(held.roots().unwrap().len(), SURVEY_ROOTS_MAX);
        fs::write(file(directory.path(), "roots"), line.repeat(SURVEY_ROOTS_MAX + 1)).unwrap();
        assert!(matches!(held.roots(), Err(TokenError::Damaged)));
        fs::remove_file(file(directory.path(), "roots")).unwrap();
        assert!(matches!(held.roots(), Err(TokenError::Damaged)));
    }

    /// J2: one of many has it at a time
    #[test]
    fn a_token_is_in_one_hand() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (opened(directory.path()), opened(directory.path()));
        first.issue(&NAME, "text\n", &roots(), 1).unwrap();
        let held = first.hold(&NAME).unwrap();
        assert!(matches!(second.hold(&NAME), Err(TokenError::Busy)));
        assert!(second.hold(&[8; 32]).is_ok());
        drop(held);
        second.hold(&NAME).unwrap().spend().unwrap();
        assert_eq!(first.hold(&NAME).unwrap().record().unwrap(), TokenRecord::Spent);
    }

    /// C4, I2: what a crash may leave at each step, and a record that was copied back in
    #[test]
    fn whatever_a_crash_leaves_a_token_is_spent_once() {
        type Left = fn(&Path);
        let partial: Left = |at| {
            fs::write(file(at, "unspent").with_file_name(".x.0000000000000001"), b"te").unwrap();
        };
        let unspent: Left = |at| fs::write(file(at, "unspent"), b"text\n").unwrap();
        let spent: Left = |at| fs::write(file(at, "spent"), b"text\n").unwrap();
        let both: Left = |at| {
            fs::write(file(at, "unspent"), b"text\n").unwrap();
            fs::write(file(at, "spent"), b"text\n").unwrap();
        };
        let rows = [
            (partial, TokenRecord::Absent, TokenRecord::Absent),
            (unspent, TokenRecord::Unspent, TokenRecord::Spent),
            (spent, TokenRecord::Spent, TokenRecord::Spent),
            (both, TokenRecord::Spent, TokenRecord::Spent),
        ];
        for (left, found, then) in rows {
            let directory = tempfile::tempdir().unwrap();
            drop(opened(directory.path()));
            left(directory.path());
            let records = opened(directory.path());
            let held = records.hold(&NAME).unwrap();
            assert_eq!(held.record().unwrap(), found);
            assert_eq!(held.spend().is_ok(), then == TokenRecord::Spent);
            assert_eq!(held.record().unwrap(), then);
        }
    }
}
