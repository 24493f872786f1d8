//! Arrays of NumPy, alone or as the members of an archive: the header, and as many bytes as its
//! shape and type ask for.
//!
//! An array alone has no checksum.

use super::super::window::Window;
use super::super::{Proven, ReadAt};
use super::{Beyond, Checked, Flaw, Members, Stop};
use crate::load_check::literal::Literal;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Bytes of a header; NumPy itself reads 10,000 unless it is told to trust the file.
const HEADER_MAX: usize = 1 << 20;

/// Checks a file of one array.
pub(in crate::load_check) fn check_alone(file: &dyn ReadAt) -> Checked<Proven> {
    let mut array = Array::new();
    let mut window = Window::whole(file);
    while !array.is_headed() && window.left() > 0 {
        let bytes = window.fill()?;
        let length = bytes.len();
        array.take(bytes).map_err(|flaw| Stop::broken(0, flaw))?;
        window.consume(length);
    }
    array.length = file.size();
    match array.end() {
        Ok(None) => Ok(Proven { members: 1, ..Proven::default() }),
        Ok(Some(beyond)) => Err(Stop::Beyond(beyond)),
        Err(flaw @ (Flaw::Truncated | Flaw::Trailing)) => Err(Stop::broken(file.size(), flaw)),
        Err(flaw) => Err(Stop::broken(0, flaw)),
    }
}

/// The arrays of an archive.
pub(super) struct Arrays {
    now: Option<Array>,
    beyond: Option<Beyond>,
}

impl Arrays {
    pub(super) fn new() -> Self {
        Self { now: None, beyond: None }
    }
}

impl Members for Arrays {
    fn begin(&mut self, name: &[u8], _: u64) -> Checked<()> {
        self.now = name.ends_with(b".npy").then(Array::new);
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        self.now.as_mut().map_or(Ok(()), |array| array.take(bytes))
    }

    fn end(&mut self) -> Result<(), Flaw> {
        if let Some(array) = self.now.take() {
            self.beyond = array.end()?.or(self.beyond);
        }
        Ok(())
    }

    fn finish(self) -> Checked<()> {
        self.beyond.map_or(Ok(()), |beyond| Err(Stop::Beyond(beyond)))
    }
}

/// An array whose bytes come piece by piece.
struct Array {
    head: Vec<u8>,
    /// Bytes with the header.
    length: u64,
}

impl Array {
    fn new() -> Self {
        Self { head: Vec::new(), length: 0 }
    }

    /// How many bytes there are before the data, as far as that is known already.
    fn data_at(&self) -> usize {
        match self.head[..] {
            [_, _, _, _, _, _, 1, _, low, high, ..] => {
                10 + usize::from(u16::from_le_bytes([low, high]))
            }
            [_, _, _, _, _, _, 2 | 3, _, a, b, c, d, ..] => {
                let length = u32::from_le_bytes([a, b, c, d]);
                usize::try_from(length).map_or(usize::MAX, |length| length.saturating_add(12))
            }
            _ => 12,
        }
    }

    fn is_headed(&self) -> bool {
        self.head.len() >= 12 && self.head.len() >= self.data_at()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        self.length = self.length.saturating_add(bytes.len() as u64);
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_headed() {
            let missing = self.data_at().max(12) - self.head.len();
            let (now, later) = rest.split_at(missing.min(rest.len()));
            self.head.extend_from_slice(now);
            rest = later;
            if !MAGIC.starts_with(&self.head[..self.head.len().min(MAGIC.len())]) {
                return Err(Flaw::Magic);
            }
            if self.data_at() > HEADER_MAX {
                return Err(Flaw::Extent);
            }
        }
        Ok(())
    }

    /// Compares what the header says with the bytes that came.
    fn end(&self) -> Result<Option<Beyond>, Flaw> {
        let data_at = self.data_at();
        if !self.is_headed() {
            let is_begun = self.head.len() >= MAGIC.len();
            return Err(if is_begun { Flaw::Truncated } else { Flaw::Magic });
        }
        let text_at = match self.head[6] {
            1 => 10,
            2 | 3 => 12,
            _ => return Err(Flaw::Value),
        };
        let text = std::str::from_utf8(&self.head[text_at..data_at]).map_err(|_| Flaw::Syntax)?;
        let text = text.strip_suffix('\n').ok_or(Flaw::Syntax)?;
        let head = Literal::parse(text.trim_end()).ok_or(Flaw::Syntax)?;
        let field = |name| head.field(name).ok_or(Flaw::Missing);
        let (of, shape) = (field("descr")?, field("shape")?);
        if !matches!(field("fortran_order")?, Literal::Truth(_)) {
            return Err(Flaw::Value);
        }
        let item = match item_size(of)? {
            Item::Bytes(bytes) => bytes,
            Item::Pickled => return Ok(Some(Beyond::Pickle)),
        };
        let expected = count(shape).and_then(|count| count.checked_mul(item));
        match expected.ok_or(Flaw::Value)?.cmp(&(self.length - data_at as u64)) {
            std::cmp::Ordering::Equal => Ok(None),
            std::cmp::Ordering::Greater => Err(Flaw::Truncated),
            std::cmp::Ordering::Less => Err(Flaw::Trailing),
        }
    }
}

/// How an element lies in the data.
enum Item {
    Bytes(u64),
    Pickled,
}

fn item_size(of: &Literal<'_>) -> Result<Item, Flaw> {
    match of {
        Literal::Text(text) => scalar_size(text),
        Literal::List(fields) => {
            let mut sum = 0_u64;
            for field in fields {
                let Literal::Tuple(field) = field else { return Err(Flaw::Value) };
                let (of, shape) = match &field[..] {
                    [_, of] => (of, 1),
                    [_, of, shape] => (of, count(shape).ok_or(Flaw::Value)?),
                    _ => return Err(Flaw::Value),
                };
                let Item::Bytes(bytes) = item_size(of)? else { return Ok(Item::Pickled) };
                let bytes = bytes.checked_mul(shape).and_then(|bytes| bytes.checked_add(sum));
                sum = bytes.ok_or(Flaw::Value)?;
            }
            Ok(Item::Bytes(sum))
        }
        // Fields of their own within one field: the type, and how many of it.
        Literal::Tuple(pair) if pair.len() == 2 => match item_size(&pair[0])? {
            Item::Bytes(bytes) => {
                let bytes = count(&pair[1]).and_then(|count| count.checked_mul(bytes));
                bytes.map(Item::Bytes).ok_or(Flaw::Value)
            }
            Item::Pickled => Ok(Item::Pickled),
        },
        _ => Err(Flaw::Value),
    }
}

/// Bytes of an element such as `<f4`, `|S10` or `<M8[ns]`.
fn scalar_size(text: &str) -> Result<Item, Flaw> {
    let mut letters = text.chars();
    let (Some('<' | '>' | '|' | '='), Some(letter)) = (letters.next(), letters.next()) else {
        return Err(Flaw::Value);
    };
    let rest = letters.as_str();
    let (digits, unit) = rest.split_at(rest.find('[').unwrap_or(rest.len()));
    let is_time = matches!(letter, 'm' | 'M') && unit.ends_with(']');
    if !(unit.is_empty() || is_time) {
        return Err(Flaw::Value);
    }
    let size: u64 = match (letter, digits) {
        ('O', _) => return Ok(Item::Pickled),
        (_, digits) => digits.parse().map_err(|_| Flaw::Value)?,
    };
    let is_known = match letter {
        'b' => size == 1,
        'i' | 'u' => matches!(size, 1 | 2 | 4 | 8),
        'f' => matches!(size, 2 | 4 | 8 | 12 | 16),
        'c' => matches!(size, 8 | 16 | 24 | 32),
        'm' | 'M' => size == 8,
        'S' | 'a' | 'V' | 'U' => true,
        _ => false,
    };
    let size = if letter == 'U' { size.checked_mul(4) } else { Some(size) };
    size.filter(|_| is_known).map(Item::Bytes).ok_or(Flaw::Value)
}

/// Elements of a shape.
fn count(shape: &Literal<'_>) -> Option<u64> {
    let whole = |value: &Literal<'_>| match value {
        Literal::Whole(value) => Some(*value),
        _ => None,
    };
    match shape {
        Literal::Tuple(sides) => {
            sides.iter().try_fold(1_u64, |count, side| count.checked_mul(whole(side)?))
        }
        single => whole(single),
    }
}
