//! Lists that outgrow memory, written once and read from their start.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connect::Connector;
use crate::disk::state::{Spool, StateDirectory, StateError};
use crate::gate::coverage::{FoldError, Lines};
use crate::journal::{LineReader, write_unguarded};

/// A list of lines in a file without a name.
pub(super) struct LineFile<T> {
    spool: Spool,
    buffer: Vec<u8>,
    lines: u64,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned + 'static> LineFile<T> {
    pub(super) fn new(state: &StateDirectory, connector: &Connector) -> Result<Self, StateError> {
        let spool = state.spool(connector.unique())?;
        Ok(Self { spool, buffer: Vec::new(), lines: 0, of: PhantomData })
    }

    pub(super) fn add(&mut self, line: &T) -> Result<(), StateError> {
        self.buffer.clear();
        write_unguarded(&mut self.buffer, line);
        self.lines += 1;
        self.spool.write(&self.buffer)
    }

    /// All lines. One reader at a time: the next one begins where all do.
    pub(super) fn read(&mut self) -> Result<Lines<'static, T>, StateError> {
        let (mut reader, mut left) = (LineReader::unguarded(self.spool.reader()?), self.lines);
        Ok(Box::new(std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            Some(reader.next_line().ok_or_else(|| {
                left = 0;
                FoldError::Broken("what was noted of it on this machine is damaged".to_owned())
            }))
        })))
    }
}
