//! Parquet: the mark at both ends, the footer, and each column's pages by their headers, with their
//! CRC-32 where they have one.
//!
//! Pages are not decompressed: what changed in one without a CRC is not found.

mod thrift;

use super::window::Window;
use super::{Beyond, Checked, Flaw, Proven, ReadAt, Stop};

use thrift::{Value, fields};

const MAGIC: [u8; 4] = *b"PAR1";
const ENCRYPTED: [u8; 4] = *b"PARE";

/// Bytes of the end: the footer's length, and the mark.
const END_LENGTH: u64 = 8;

/// Kinds of pages.
const DATA_PAGE: i64 = 0;
const INDEX_PAGE: i64 = 1;
const DICTIONARY_PAGE: i64 = 2;
const DATA_PAGE_2: i64 = 3;

const UNCOMPRESSED: i64 = 0;

pub(super) fn check(file: &dyn ReadAt) -> Checked<Proven> {
    let size = file.size();
    let mut window = Window::whole(file);
    let begins = window.bytes::<4>()?;
    if begins == ENCRYPTED {
        return Err(Stop::Beyond(Beyond::Encrypted));
    }
    if begins != MAGIC {
        return Err(Stop::broken(0, Flaw::Magic));
    }
    let end = size.checked_sub(END_LENGTH).filter(|end| *end >= 4);
    let end = end.ok_or_else(|| Stop::broken(size, Flaw::Truncated))?;
    let mut window = Window::at(file, end);
    let length = window.u32()?;
    if window.bytes()? != MAGIC {
        return Err(Stop::broken(size - 4, Flaw::Magic));
    }
    let start = end.checked_sub(length.into()).filter(|start| *start >= 4);
    let start = start.ok_or_else(|| Stop::broken(end, Flaw::Extent))?;
    let mut columns = Columns { file, end: start, spent: 0, proven: Proven::default() };
    let mut footer = Window::of(file, start, length.into())?;
    columns.footer(&mut footer)?;
    if footer.left() > 0 {
        return Err(footer.broken(Flaw::Trailing));
    }
    Ok(columns.proven)
}

struct Columns<'a> {
    file: &'a dyn ReadAt,
    /// Where data ends: at the footer.
    end: u64,
    /// Bytes of the columns so far; those that overlap would cost them again and again.
    spent: u64,
    proven: Proven,
}

/// What the footer says of a column in a group of rows.
#[derive(Default)]
struct Column {
    codec: Option<i64>,
    values: Option<i64>,
    length: Option<i64>,
    data_at: Option<i64>,
    dictionary_at: Option<i64>,
    is_elsewhere: bool,
    is_encrypted: bool,
}

impl Columns<'_> {
    fn footer(&mut self, window: &mut Window<'_>) -> Checked<()> {
        let start = window.position();
        let (mut has_version, mut has_schema, mut is_encrypted) = (false, false, false);
        let (mut rows, mut found) = (None, 0_i64);
        fields(window, |id, value, window| {
            match (id, value) {
                (1, Value::Whole(_)) => has_version = true,
                (2, Value::List { count, .. }) => {
                    has_schema = count > 0;
                    return Ok(false);
                }
                (3, Value::Whole(value)) => rows = Some(value),
                (4, Value::List { count, of }) => thrift::structs(window, count, of, |window| {
                    found = found.saturating_add(self.group(window)?);
                    Ok(())
                })?,
                (8, _) => {
                    is_encrypted = true;
                    return Ok(false);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        match rows {
            _ if is_encrypted => Err(Stop::Beyond(Beyond::Encrypted)),
            Some(rows) if has_version && has_schema => {
                let flaw = Stop::broken(start, Flaw::Mismatch);
                if rows == found { Ok(()) } else { Err(flaw) }
            }
            _ => Err(Stop::broken(start, Flaw::Missing)),
        }
    }

    /// Reads a group of rows, and says how many there are.
    fn group(&mut self, window: &mut Window<'_>) -> Checked<i64> {
        let start = window.position();
        let (mut rows, mut has_columns) = (None, false);
        fields(window, |id, value, window| {
            match (id, value) {
                (1, Value::List { count, of }) => {
                    has_columns = true;
                    thrift::structs(window, count, of, |window| self.column(window))?;
                }
                (3, Value::Whole(value)) => rows = Some(value),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        rows.filter(|rows| has_columns && *rows >= 0)
            .ok_or_else(|| Stop::broken(start, Flaw::Missing))
    }

    fn column(&mut self, window: &mut Window<'_>) -> Checked<()> {
        let start = window.position();
        let mut column = Column::default();
        fields(window, |id, value, window| {
            match (id, value) {
                (1, _) => column.is_elsewhere = true,
                (3, Value::Struct) => {
                    column.read(window)?;
                    return Ok(true);
                }
                (8 | 9, _) => column.is_encrypted = true,
                _ => {}
            }
            Ok(false)
        })?;
        if column.is_encrypted {
            return Err(Stop::Beyond(Beyond::Encrypted));
        }
        if column.is_elsewhere {
            return Err(Stop::Beyond(Beyond::Feature));
        }
        self.pages(&column, start)
    }

    /// Goes through the pages of a column, which the footer describes at `told_at`.
    fn pages(&mut self, column: &Column, told_at: u64) -> Checked<()> {
        let refuse = |flaw| Stop::broken(told_at, flaw);
        let place = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let missing = refuse(Flaw::Missing);
        let (Some(length), Some(data_at)) = (place(column.length), place(column.data_at)) else {
            return Err(missing);
        };
        let (Some(codec), Some(values)) = (column.codec, column.values) else {
            return Err(missing);
        };
        if (length, values) == (0, 0) {
            return Ok(());
        }
        // Some writers say zero where there is no dictionary, or no page of data.
        let is_first = |at: &u64| *at > 0 && (*at < data_at || data_at == 0);
        let dictionary = place(column.dictionary_at).filter(is_first);
        let start = dictionary.unwrap_or(data_at);
        let stop = start.checked_add(length).filter(|stop| start >= 4 && *stop <= self.end);
        let stop = stop.ok_or_else(|| refuse(Flaw::Extent))?;
        self.spent = self.spent.saturating_add(length);
        if self.spent > self.end {
            return Err(refuse(Flaw::Layout));
        }
        let mut window = Window::of(self.file, start, stop - start)?;
        let mut found = 0_i64;
        while window.left() > 0 {
            found = found.saturating_add(self.page(&mut window, codec)?);
        }
        if found == values { Ok(()) } else { Err(refuse(Flaw::Mismatch)) }
    }

    /// Checks a page, and says how many values it has.
    fn page(&mut self, window: &mut Window<'_>, codec: i64) -> Checked<i64> {
        let start = window.position();
        let refuse = |flaw| Stop::broken(start, flaw);
        let mut page = Page::default();
        page.read(window)?;
        let missing = refuse(Flaw::Missing);
        let (Some(kind), Some(full), Some(length)) = (page.kind, page.full, page.length) else {
            return Err(missing);
        };
        let Ok(length) = u64::try_from(length) else { return Err(refuse(Flaw::Value)) };
        if codec == UNCOMPRESSED && page.full != page.length || full < 0 {
            return Err(refuse(Flaw::Mismatch));
        }
        let data = window.position();
        match page.crc {
            Some(crc) => {
                if i64::from(window.crc(length)?.cast_signed()) != crc {
                    return Err(Stop::broken(data, Flaw::Checksum));
                }
                self.proven.checksums += 1;
            }
            None => window.skip(length)?,
        }
        self.proven.members += 1;
        match kind {
            DATA_PAGE | DATA_PAGE_2 => page.values.filter(|values| *values >= 0).ok_or(missing),
            INDEX_PAGE | DICTIONARY_PAGE => Ok(0),
            _ => Err(refuse(Flaw::Value)),
        }
    }
}

impl Column {
    fn read(&mut self, window: &mut Window<'_>) -> Checked<()> {
        fields(window, |id, value, _| {
            let Value::Whole(value) = value else { return Ok(false) };
            match id {
                4 => self.codec = Some(value),
                5 => self.values = Some(value),
                7 => self.length = Some(value),
                9 => self.data_at = Some(value),
                11 => self.dictionary_at = Some(value),
                _ => {}
            }
            Ok(true)
        })
    }
}

/// What a page's header says.
#[derive(Default)]
struct Page {
    kind: Option<i64>,
    full: Option<i64>,
    length: Option<i64>,
    crc: Option<i64>,
    values: Option<i64>,
}

impl Page {
    fn read(&mut self, window: &mut Window<'_>) -> Checked<()> {
        fields(window, |id, value, window| {
            match (id, value) {
                (1, Value::Whole(value)) => self.kind = Some(value),
                (2, Value::Whole(value)) => self.full = Some(value),
                (3, Value::Whole(value)) => self.length = Some(value),
                (4, Value::Whole(value)) => self.crc = Some(value),
                (5 | 8, Value::Struct) => fields(window, |id, value, _| match (id, value) {
                    (1, Value::Whole(value)) => {
                        self.values = Some(value);
                        Ok(true)
                    }
                    _ => Ok(false),
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }
}
