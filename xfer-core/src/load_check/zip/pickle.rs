//! A pickle, walked from operation to operation and never run.
//!
//! Walking tells that it is whole, and which storages it refers to: PyTorch names each by a tuple
//! of five values right before it is fetched.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Beyond, Flaw};

/// Values that a pickle remembers and that are followed here: names of storages and of types.
const MEMO_MAX: usize = 400_000;

/// Values that are kept since the last mark: those of the tuple, and one more.
const KEPT: usize = 6;

/// A storage that a pickle refers to.
pub(super) struct Storage<'a> {
    /// Name of the type of storage, such as `FloatStorage`.
    pub(super) of: &'a [u8],
    /// Name of its member.
    pub(super) key: &'a [u8],
    /// Elements of that type.
    pub(super) count: u64,
}

/// What came of a walk.
pub(super) enum Ended {
    At(Flaw),
    Beyond(Beyond),
}

/// A value as far as it is followed.
#[derive(Clone, Debug)]
enum Value {
    Text(Range<usize>),
    Type(Range<usize>),
    Whole(u64),
    Other,
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    kept: Vec<Value>,
    memo: BTreeMap<u64, Value>,
    remembered: u64,
}

/// Walks a pickle to its end, and gives the storages that it refers to away.
pub(super) fn walk<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(Storage<'a>) -> Result<(), Flaw>,
) -> Result<(), Ended> {
    let mut walk = Walk { bytes, at: 0, kept: vec![], memo: BTreeMap::new(), remembered: 0 };
    loop {
        let operation = walk.number(1).map_err(Ended::At)?;
        match u8::try_from(operation) {
            Ok(b'.') if walk.at == bytes.len() => return Ok(()),
            Ok(b'.') => return Err(Ended::At(Flaw::Trailing)),
            Ok(b'Q') => {
                if let Some(storage) = walk.storage() {
                    each(storage).map_err(Ended::At)?;
                }
                walk.push(Value::Other);
            }
            Ok(operation) => walk.step(operation).map_err(Ended::At)?,
            Err(_) => return Err(Ended::At(Flaw::Value)),
        }
        if walk.memo.len() > MEMO_MAX {
            return Err(Ended::Beyond(Beyond::Memory));
        }
    }
}

impl<'a> Walk<'a> {
    fn span(&mut self, length: u64) -> Result<Range<usize>, Flaw> {
        let length = usize::try_from(length).map_err(|_| Flaw::Extent)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let span = self.at..end.ok_or(Flaw::Truncated)?;
        self.at = span.end;
        Ok(span)
    }

    /// A number of so many bytes, the lowest first.
    fn number(&mut self, length: u64) -> Result<u64, Flaw> {
        let span = self.span(length)?;
        let bytes = self.bytes[span].iter().rev();
        Ok(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn counted(&mut self, length: u64) -> Result<Range<usize>, Flaw> {
        let length = self.number(length)?;
        self.span(length)
    }

    fn line(&mut self) -> Result<Range<usize>, Flaw> {
        let end = self.bytes[self.at..].iter().position(|byte| *byte == b'\n');
        let span = self.at..self.at + end.ok_or(Flaw::Truncated)?;
        self.at = span.end + 1;
        Ok(span)
    }

    fn push(&mut self, value: Value) {
        if self.kept.len() == KEPT {
            self.kept.remove(0);
        }
        self.kept.push(value);
    }

    fn remember(&mut self, place: u64) {
        self.remembered += 1;
        match self.kept.last() {
            None | Some(Value::Other) => self.memo.remove(&place),
            Some(value) => self.memo.insert(place, value.clone()),
        };
    }

    fn recall(&mut self, place: u64) {
        let value = self.memo.get(&place).cloned();
        self.push(value.unwrap_or(Value::Other));
    }

    fn step(&mut self, operation: u8) -> Result<(), Flaw> {
        match operation {
            b'(' => self.kept.clear(),
            // A tuple is what its values were, until it is fetched by.
            b't' | 0x85..=0x87 | b'0' | b'1' => {}
            b'2'
            | b'N'
            | b'R'
            | b'a'
            | b'b'
            | b'd'
            | b'}'
            | b'e'
            | b'l'
            | b']'
            | b'o'
            | b')'
            | b's'
            | b'u'
            | 0x81
            | 0x88
            | 0x89
            | 0x8f..=0x92
            | 0x97
            | 0x98 => {
                self.push(Value::Other);
            }
            b'K' => self.whole(1)?,
            b'M' => self.whole(2)?,
            b'J' => self.whole(4)?,
            0x8a => self.long()?,
            b'q' => self.number(1).map(|place| self.remember(place))?,
            b'r' => self.number(4).map(|place| self.remember(place))?,
            0x94 => self.remember(self.remembered),
            b'h' => self.number(1).map(|place| self.recall(place))?,
            b'j' => self.number(4).map(|place| self.recall(place))?,
            0x8c | b'U' => self.text(1)?,
            b'X' | b'T' => self.text(4)?,
            0x8d => self.text(8)?,
            b'c' => self.global()?,
            0x93 => self.stack_global(),
            _ => self.unfollowed(operation)?,
        }
        Ok(())
    }

    fn whole(&mut self, length: u64) -> Result<(), Flaw> {
        let value = self.number(length)?;
        self.push(Value::Whole(value));
        Ok(())
    }

    fn long(&mut self) -> Result<(), Flaw> {
        let span = self.counted(1)?;
        let bytes = &self.bytes[span];
        let value = bytes
            .iter()
            .rev()
            .try_fold(0_u64, |number, byte| Some(number.checked_mul(256)? + u64::from(*byte)));
        self.push(value.map_or(Value::Other, Value::Whole));
        Ok(())
    }

    fn text(&mut self, length: u64) -> Result<(), Flaw> {
        let span = self.counted(length)?;
        self.push(Value::Text(span));
        Ok(())
    }

    fn global(&mut self) -> Result<(), Flaw> {
        self.line()?;
        let name = self.line()?;
        self.push(Value::Type(name));
        Ok(())
    }

    fn stack_global(&mut self) {
        let name = self.kept.pop();
        self.kept.pop();
        self.push(match name {
            Some(Value::Text(name)) => Value::Type(name),
            _ => Value::Other,
        });
    }

    /// Operations whose values nobody asks for.
    fn unfollowed(&mut self, operation: u8) -> Result<(), Flaw> {
        match operation {
            // A protocol and a frame are about the pickle and put nothing anywhere.
            0x80 => return self.number(1).map(|_| ()),
            0x95 => return self.number(8).map(|_| ()),
            0x82 => self.span(1)?,
            0x83 => self.span(2)?,
            0x84 => self.span(4)?,
            b'G' => self.span(8)?,
            b'C' => self.counted(1)?,
            b'B' | 0x8b => self.counted(4)?,
            0x8e | 0x96 => self.counted(8)?,
            b'I' | b'L' | b'F' | b'S' | b'V' | b'g' | b'P' => self.line()?,
            b'p' => return self.line().map(|_| ()),
            b'i' => self.line().and_then(|_| self.line())?,
            _ => return Err(Flaw::Value),
        };
        self.push(Value::Other);
        Ok(())
    }

    /// The storage that the values before stand for.
    fn storage(&self) -> Option<Storage<'a>> {
        let values = self.kept.get(self.kept.len().checked_sub(5)?..)?;
        let [Value::Text(mark), Value::Type(of), Value::Text(key), _, Value::Whole(count)] = values
        else {
            return None;
        };
        let text = |span: &Range<usize>| &self.bytes[span.clone()];
        let is_one = text(mark) == b"storage";
        is_one.then(|| Storage { of: text(of), key: text(key), count: *count })
    }
}
