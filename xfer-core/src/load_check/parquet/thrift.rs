//! Thrift's compact protocol, read as far as a footer and a page's header need it.

use super::super::window::Window;
use super::{Checked, Flaw};

/// Values within each other.
const DEPTH_MAX: u8 = 32;

/// Types as they stand in a field's first byte.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const INT_MAX: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// The value of a field, as far as it is read when the field is told of.
#[derive(Clone, Copy)]
pub(super) enum Value {
    /// A whole number, which has been read.
    Whole(i64),
    /// A list, of which its head has been read: `count` values of the type `of` follow.
    List { count: u64, of: u8 },
    /// Fields follow.
    Struct,
    /// Something else, of which nothing has been read.
    Other,
}

/// Tells of the fields of a struct one after the other; what has been told of and not been read, as
/// the answer `false` says, is passed over.
pub(super) fn fields(
    window: &mut Window<'_>,
    mut each: impl FnMut(i64, Value, &mut Window<'_>) -> Checked<bool>,
) -> Checked<()> {
    let mut id = 0;
    while let Some(of) = head(window, &mut id)? {
        let value = match of {
            BYTE => Value::Whole(i64::from(window.byte()?.cast_signed())),
            4..=INT_MAX => Value::Whole(zigzag(window)?),
            LIST | SET => list(window)?,
            STRUCT => Value::Struct,
            _ => Value::Other,
        };
        if !each(id, value, window)? {
            rest(window, of, value, DEPTH_MAX)?;
        }
    }
    Ok(())
}

/// Gives the structs of a list one after the other.
pub(super) fn structs(
    window: &mut Window<'_>,
    count: u64,
    of: u8,
    mut each: impl FnMut(&mut Window<'_>) -> Checked<()>,
) -> Checked<()> {
    if of != STRUCT && count > 0 {
        return Err(window.broken(Flaw::Syntax));
    }
    (0..count).try_for_each(|_| each(window))
}

/// A field's type, and its number; nothing where the struct ends.
fn head(window: &mut Window<'_>, id: &mut i64) -> Checked<Option<u8>> {
    let byte = window.byte()?;
    if byte == 0 {
        return Ok(None);
    }
    *id = match byte >> 4 {
        0 => zigzag(window)?,
        more => id.saturating_add(more.into()),
    };
    Ok(Some(byte & 15))
}

/// Passes over what was not read of a value.
fn rest(window: &mut Window<'_>, of: u8, value: Value, depth: u8) -> Checked<()> {
    match value {
        Value::Whole(_) => Ok(()),
        Value::List { count, of } => elements(window, count, of, depth),
        Value::Struct | Value::Other if matches!(of, TRUE | FALSE) => Ok(()),
        Value::Struct | Value::Other => pass(window, of, depth),
    }
}

fn elements(window: &mut Window<'_>, count: u64, of: u8, depth: u8) -> Checked<()> {
    let depth = depth.checked_sub(1).ok_or_else(|| window.broken(Flaw::Syntax))?;
    (0..count).try_for_each(|_| pass(window, of, depth))
}

/// Passes over a value, none of which was read.
fn pass(window: &mut Window<'_>, of: u8, depth: u8) -> Checked<()> {
    match of {
        // Within lists a truth value takes a byte.
        TRUE | FALSE | BYTE => window.skip(1),
        4..=INT_MAX => zigzag(window).map(|_| ()),
        DOUBLE => window.skip(8),
        BINARY => {
            let length = varint(window)?;
            window.skip(length)
        }
        LIST | SET => match list(window)? {
            Value::List { count, of } => elements(window, count, of, depth),
            _ => Ok(()),
        },
        MAP => {
            let count = varint(window)?;
            if count == 0 {
                return Ok(());
            }
            let types = window.byte()?;
            let depth = depth.checked_sub(1).ok_or_else(|| window.broken(Flaw::Syntax))?;
            (0..count).try_for_each(|_| {
                pass(window, types >> 4, depth).and_then(|()| pass(window, types & 15, depth))
            })
        }
        STRUCT => {
            let depth = depth.checked_sub(1).ok_or_else(|| window.broken(Flaw::Syntax))?;
            let mut id = 0;
            while let Some(of) = head(window, &mut id)? {
                if !matches!(of, TRUE | FALSE) {
                    pass(window, of, depth)?;
                }
            }
            Ok(())
        }
        UUID => window.skip(16),
        _ => Err(window.broken(Flaw::Syntax)),
    }
}

fn list(window: &mut Window<'_>) -> Checked<Value> {
    let byte = window.byte()?;
    let count = if byte >> 4 == 15 { varint(window)? } else { u64::from(byte >> 4) };
    // Every value takes a byte at least.
    if count > window.left() {
        return Err(window.broken(Flaw::Extent));
    }
    Ok(Value::List { count, of: byte & 15 })
}

fn varint(window: &mut Window<'_>) -> Checked<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = window.byte()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(window.broken(Flaw::Syntax))
}

fn zigzag(window: &mut Window<'_>) -> Checked<i64> {
    let value = varint(window)?;
    Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}
