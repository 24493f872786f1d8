//! safetensors: the header's length and text, each tensor's bytes as its shape and type ask for,
//! and all of them side by side from the header to the end of the file.
//!
//! The data has no checksum: a bit that changed in it is not found.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de::DeserializeSeed};

use super::window::Window;
use super::{Checked, Flaw, Proven, ReadAt, Stop};

/// Bytes of a header, as the format itself limits it.
const HEADER_MAX: u64 = 100_000_000;

/// The bits of an element, by the name of its type.
const BITS: &[(&str, u64)] = &[
    ("BOOL", 8),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("C64", 64),
    ("F64", 64),
    ("I64", 64),
    ("U64", 64),
];

pub(super) fn check(file: &dyn ReadAt) -> Checked<Proven> {
    let mut window = Window::whole(file);
    let length = window.u64()?;
    if length == 0 || length > HEADER_MAX {
        return Err(Stop::broken(0, Flaw::Extent));
    }
    let text = window.take(length, HEADER_MAX)?;
    let data = window.left();
    if text.first() != Some(&b'{') {
        return Err(Stop::broken(8, Flaw::Syntax));
    }
    let mut problem = None;
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let read = Tensors { problem: &mut problem }.deserialize(&mut reader);
    let tensors = read.and_then(|tensors| reader.end().map(|()| tensors));
    let Ok(mut tensors) = tensors else {
        return Err(Stop::broken(8, problem.unwrap_or(Flaw::Syntax)));
    };
    tensors.sort_unstable();
    let mut end = 0;
    for (from, to) in &tensors {
        if *from != end {
            return Err(Stop::broken(8, Flaw::Layout));
        }
        end = *to;
    }
    match end.cmp(&data) {
        std::cmp::Ordering::Equal => {}
        std::cmp::Ordering::Less => return Err(Stop::broken(8 + length + end, Flaw::Trailing)),
        std::cmp::Ordering::Greater => return Err(Stop::broken(file.size(), Flaw::Truncated)),
    }
    Ok(Proven { members: tensors.len() as u64, ..Proven::default() })
}

/// Reads where each tensor's data lies.
struct Tensors<'a> {
    problem: &'a mut Option<Flaw>,
}

impl<'de> DeserializeSeed<'de> for Tensors<'_> {
    type Value = Vec<(u64, u64)>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tensors<'_> {
    type Value = Vec<(u64, u64)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut tensors = Vec::new();
        let mut names = BTreeSet::new();
        while let Some(Text(name)) = map.next_key()? {
            if name == "__metadata__" {
                map.next_value::<BTreeMap<Text<'_>, Text<'_>>>()?;
                continue;
            }
            let tensor: Tensor<'_> = map.next_value()?;
            let flaw = tensor.flaw().or_else(|| (!names.insert(name)).then_some(Flaw::Mismatch));
            if let Some(flaw) = flaw {
                *self.problem = Some(flaw);
                return Err(A::Error::custom(flaw));
            }
            tensors.push(tensor.data_offsets);
        }
        Ok(tensors)
    }
}

#[derive(Deserialize)]
struct Tensor<'a> {
    #[serde(borrow)]
    dtype: Text<'a>,
    shape: Count,
    data_offsets: (u64, u64),
}

impl Tensor<'_> {
    fn flaw(&self) -> Option<Flaw> {
        let Some((_, bits)) = BITS.iter().find(|(name, _)| *name == self.dtype.0) else {
            return Some(Flaw::Value);
        };
        let (from, to) = self.data_offsets;
        let Some(length) = to.checked_sub(from) else { return Some(Flaw::Extent) };
        let expected = self.shape.0.and_then(|count| count.checked_mul(*bits));
        (expected != length.checked_mul(8)).then_some(Flaw::Mismatch)
    }
}

/// A text, which is borrowed where nothing in it is escaped.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The product of a list of numbers, where it can be told.
struct Count(Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_seq(Product)
    }
}

struct Product;

impl<'de> Visitor<'de> for Product {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shape")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sides: A) -> Result<Count, A::Error> {
        let mut count = Some(1_u64);
        while let Some(side) = sides.next_element::<u64>()? {
            count = count.and_then(|count| count.checked_mul(side));
        }
        Ok(Count(count))
    }
}
