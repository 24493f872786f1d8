//! Permissions that entries get instead of the source's (`--chmod`), as rsync reads and applies
//! them.
//!
//! Any list of changes comes to one mask and one set of bits for each of three: directories, files
//! that somebody may execute, and other files. So it is a value of fixed size.

/// All that a mode can hold beside the kind of the entry.
const BITS: u32 = 0o7777;

/// What becomes of the permissions of entries. Default: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeChanges {
    directory: Change,
    /// A file that somebody may execute at the source, which is what `X` asks.
    executable: Change,
    other: Change,
}

/// Bits that stay, and bits that are set then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    keep: u32,
    set: u32,
}

/// Why text is no list of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected changes such as D755,F644 or u+rwX,go-w")]
pub struct NoModeChanges;

impl Default for ModeChanges {
    fn default() -> Self {
        Self::NOTHING
    }
}

impl Change {
    const NOTHING: Self = Self { keep: BITS, set: 0 };

    fn then(self, next: Self) -> Self {
        Self { keep: self.keep & next.keep, set: self.set & next.keep | next.set }
    }

    fn of(self, mode: u32) -> u32 {
        mode & !BITS | mode & self.keep | self.set
    }
}

impl ModeChanges {
    /// All stays as it is.
    pub const NOTHING: Self =
        Self { directory: Change::NOTHING, executable: Change::NOTHING, other: Change::NOTHING };

    /// Whether anything gets the right to run as its owner or group.
    #[must_use]
    pub fn sets_ids(&self) -> bool {
        let all = [self.directory, self.executable, self.other];
        all.iter().any(|change| change.set & 0o6000 != 0)
    }

    /// Reads changes with commas between: `D` or `F` and then octal digits, or classes (`ugoa`), an
    /// operator (`+-=`) and permissions (`rwxXst`). Without classes all are meant but for what
    /// `umask` takes from new files.
    ///
    /// # Errors
    /// Where it is no such list.
    pub fn parse(text: &str, umask: u32) -> Result<Self, NoModeChanges> {
        text.split(',').try_fold(Self::default(), |before, item| before.and(item, umask))
    }

    /// What becomes of a mode; its bits that are no permissions stay.
    #[must_use]
    pub fn of(&self, mode: u32, is_directory: bool) -> u32 {
        let change = match (is_directory, mode & 0o111) {
            (true, _) => self.directory,
            (false, 0) => self.other,
            (false, _) => self.executable,
        };
        change.of(mode)
    }

    fn and(self, item: &str, umask: u32) -> Result<Self, NoModeChanges> {
        let rest = item.trim_start_matches(['D', 'F']);
        let (directories, files) = match item.get(..item.len() - rest.len()).unwrap_or_default() {
            "" => (true, true),
            letters if !letters.contains('F') => (true, false),
            letters if !letters.contains('D') => (false, true),
            _ => return Err(NoModeChanges),
        };
        let (change, spared) = if rest.starts_with(|first: char| first.is_ascii_digit()) {
            let change = octal(rest)?;
            (change, change)
        } else {
            symbolic(rest, umask)?
        };
        let when = |applies: bool, change| if applies { change } else { Change::NOTHING };
        Ok(Self {
            directory: self.directory.then(when(directories, change)),
            executable: self.executable.then(when(files, change)),
            other: self.other.then(when(files, spared)),
        })
    }
}

fn octal(digits: &str) -> Result<Change, NoModeChanges> {
    let is_octal = digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let set = u32::from_str_radix(digits, 8).ok().filter(|set| is_octal && *set <= BITS);
    set.map(|set| Change { keep: 0, set }).ok_or(NoModeChanges)
}

/// The change, and what it is of a file that nobody may execute: `X` gives that nothing.
fn symbolic(text: &str, umask: u32) -> Result<(Change, Change), NoModeChanges> {
    let at = text.find(['+', '-', '=']).ok_or(NoModeChanges)?;
    let (classes, rest) = text.split_at(at);
    let (operator, permissions) = rest.split_at(1);
    // One bit for each class, and the bit by which a class runs programs as their owner or group.
    let (mut of, mut tops) = (0, 0);
    for class in classes.chars() {
        let (bit, top) = match class {
            'u' => (0o100, 0o4000),
            'g' => (0o010, 0o2000),
            'o' => (0o001, 0),
            'a' => (0o111, 0),
            _ => return Err(NoModeChanges),
        };
        (of, tops) = (of | bit, tops | top);
    }
    let (mut what, mut top, mut spares) = (0, 0, false);
    for permission in permissions.chars() {
        match permission {
            'r' => what |= 4,
            'w' => what |= 2,
            'x' => what |= 1,
            'X' => (what, spares) = (what | 1, true),
            's' if tops != 0 => top |= tops,
            's' => top = 0o4000,
            't' => top |= 0o1000,
            _ => return Err(NoModeChanges),
        }
    }
    let (of, bits) = match of {
        0 => (0o111, (0o111 * what) & !umask),
        of => (of, of * what),
    };
    let bits = bits | top;
    let change = match operator {
        "+" => Change { keep: BITS, set: bits },
        "-" => Change { keep: BITS & !bits, set: 0 },
        _ => Change { keep: BITS & !((of * 7) | if top == 0 { 0 } else { tops }), set: bits },
    };
    let spared = if spares { Change { set: change.set & !0o111, ..change } } else { change };
    Ok((change, spared))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What rsync makes of them is asked in `tests/sync/chmod`.
    #[test]
    fn changes_come_to_one() {
        for (text, directory, executable, other) in [
            ("D755,F644", 0o755, 0o644, 0o644),
            ("u+rwX,go-w", 0o755, 0o755, 0o644),
            ("a=,u=rX", 0o500, 0o500, 0o400),
            ("Dg+s,F-x", 0o2775, 0o664, 0o664),
            ("600", 0o600, 0o600, 0o600),
            ("+t", 0o1775, 0o1775, 0o1664),
        ] {
            let changes = ModeChanges::parse(text, 0o022).unwrap();
            assert_eq!(changes.of(0o775, true), directory, "{text}");
            assert_eq!(changes.of(0o775, false), executable, "{text}");
            assert_eq!(changes.of(0o664, false), other, "{text}");
        }
        assert_eq!(ModeChanges::default().of(0o7123, false), 0o7123);
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for text in ["", ",", "u", "u+q", "x+r", "8", "D", "DF755", "77777", "u755", "+r,", "755x"]
        {
            assert_eq!(ModeChanges::parse(text, 0o022), Err(NoModeChanges), "{text}");
        }
    }
}
