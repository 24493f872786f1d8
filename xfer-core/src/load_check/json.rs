//! JSON (RFC 8259) and lines of it: read to the last byte.
//!
//! Numbers that are none (`NaN`, `Infinity`) pass, as most writers of data say them, and so does a
//! byte order mark. A change within a text or a number that leaves it one is not found, nor are
//! lines that are missing as a whole.

use super::window::Window;
use super::{Beyond, Checked, Flaw, Proven, ReadAt, Stop};

/// Lists and objects within each other; readers give up long before.
const DEPTH_MAX: usize = 10_000;

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// How values lie in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One value. Several, each from a new line on, are taken as well: so many a file of lines is
    /// named.
    Whole,
    /// One value on each line, if any.
    Lines,
}

pub(super) fn check(file: &dyn ReadAt, form: Form) -> Checked<Proven> {
    let mut window = Window::whole(file);
    if Window::at(file, 0).bytes::<3>().is_ok_and(|bytes| bytes == BYTE_ORDER_MARK) {
        window.skip(3)?;
    }
    let mut text = Text { window, stack: Vec::new(), is_new_line: true, lines: form };
    let mut proven = Proven::default();
    while let Some(byte) = text.significant()? {
        if !text.is_new_line {
            return Err(text.window.broken(Flaw::Trailing));
        }
        text.is_new_line = false;
        text.value(byte)?;
        proven.members += 1;
    }
    if proven.members == 0 && form == Form::Whole {
        return Err(text.window.broken(Flaw::Truncated));
    }
    Ok(proven)
}

struct Text<'a> {
    window: Window<'a>,
    /// The lists and objects that are open, each by the byte that closes it.
    stack: Vec<u8>,
    /// Whether a line ended since the last value.
    is_new_line: bool,
    lines: Form,
}

impl Text<'_> {
    fn refuse<T>(&self) -> Checked<T> {
        Err(self.window.broken(Flaw::Syntax))
    }

    /// The next byte that is no blank; it is not taken.
    fn significant(&mut self) -> Checked<Option<u8>> {
        loop {
            match self.window.peek()? {
                Some(b'\n') if !self.stack.is_empty() && self.lines == Form::Lines => {
                    return self.refuse();
                }
                Some(b'\n') => self.is_new_line = true,
                Some(b' ' | b'\t' | b'\r') => {}
                byte => return Ok(byte),
            }
            self.window.consume(1);
        }
    }

    fn expected(&mut self) -> Checked<u8> {
        self.significant()?.ok_or_else(|| self.window.broken(Flaw::Truncated))
    }

    /// One value, which begins with a byte that is not taken yet.
    fn value(&mut self, first: u8) -> Checked<()> {
        let mut byte = first;
        loop {
            if matches!(byte, b'[' | b'{') {
                if !self.open(byte)? {
                    byte = self.member()?;
                    continue;
                }
            } else {
                self.scalar(byte)?;
            }
            loop {
                let Some(close) = self.stack.last().copied() else { return Ok(()) };
                let next = self.expected()?;
                if next != b',' && next != close {
                    return self.refuse();
                }
                self.window.consume(1);
                if next == b',' {
                    break;
                }
                self.stack.pop();
            }
            byte = self.member()?;
        }
    }

    /// Opens a list or an object, and says whether it was empty and is closed again.
    fn open(&mut self, byte: u8) -> Checked<bool> {
        self.window.consume(1);
        if self.stack.len() >= DEPTH_MAX {
            return Err(Stop::Beyond(Beyond::Memory));
        }
        // In ASCII both brackets are closed by the byte two behind the one that opens.
        self.stack.push(byte + 2);
        let is_empty = self.expected()? == byte + 2;
        if is_empty {
            self.window.consume(1);
            self.stack.pop();
        }
        Ok(is_empty)
    }

    /// The beginning of a list's or an object's next value, behind its name.
    fn member(&mut self) -> Checked<u8> {
        if self.stack.last() == Some(&b'}') {
            if self.expected()? != b'"' {
                return self.refuse();
            }
            self.text()?;
            if self.expected()? != b':' {
                return self.refuse();
            }
            self.window.consume(1);
        }
        self.expected()
    }

    fn scalar(&mut self, byte: u8) -> Checked<()> {
        match byte {
            b'"' => self.text(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'N' => self.word(b"NaN"),
            b'I' => self.word(b"Infinity"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.refuse(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Checked<()> {
        for expected in word {
            if self.window.peek()?.is_some_and(|byte| byte != *expected) {
                return self.refuse();
            }
            self.window.byte()?;
        }
        Ok(())
    }

    fn number(&mut self) -> Checked<()> {
        if self.window.peek()? == Some(b'-') {
            self.window.consume(1);
            if self.window.peek()? == Some(b'I') {
                return self.word(b"Infinity");
            }
        }
        if self.window.peek()? == Some(b'0') {
            self.window.consume(1);
        } else {
            self.digits()?;
        }
        if self.window.peek()? == Some(b'.') {
            self.window.consume(1);
            self.digits()?;
        }
        if matches!(self.window.peek()?, Some(b'e' | b'E')) {
            self.window.consume(1);
            if matches!(self.window.peek()?, Some(b'+' | b'-')) {
                self.window.consume(1);
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Checked<()> {
        match self.window.peek()? {
            Some(b'0'..=b'9') => {}
            Some(_) => return self.refuse(),
            None => return Err(self.window.broken(Flaw::Truncated)),
        }
        while matches!(self.window.peek()?, Some(b'0'..=b'9')) {
            self.window.consume(1);
        }
        Ok(())
    }

    fn text(&mut self) -> Checked<()> {
        self.window.consume(1);
        loop {
            match self.window.byte()? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                0..0x20 => return self.refuse(),
                0x20..0x80 => {}
                first => self.letter(first)?,
            }
        }
    }

    fn escape(&mut self) -> Checked<()> {
        match self.window.byte()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' if self.window.bytes::<4>()?.iter().all(u8::is_ascii_hexdigit) => Ok(()),
            _ => self.refuse(),
        }
    }

    /// The rest of a letter of UTF-8.
    fn letter(&mut self, first: u8) -> Checked<()> {
        let mut bytes = [first, 0, 0, 0];
        let length = match first {
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf5 => 4,
            _ => return self.refuse(),
        };
        self.window.read(&mut bytes[1..length])?;
        match std::str::from_utf8(&bytes[..length]) {
            Ok(_) => Ok(()),
            Err(_) => self.refuse(),
        }
    }
}
