//! Patterns over names as bytes, as shells have them: `*`, `?`, `[…]`, and `\` for the byte itself.

use std::borrow::Cow;

/// Whether a path or name holds a pattern.
#[must_use]
pub fn has_patterns(path: &[u8]) -> bool {
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    false
}

/// The name that a pattern without wildcards stands for: each `\` taken away.
#[must_use]
pub fn literal(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        let escaped = (byte == b'\\').then(|| bytes.next()).flatten();
        plain.push(*escaped.unwrap_or(&byte));
    }
    Cow::Owned(plain)
}

/// Whether a pattern matches a whole name. A leading dot must be matched by a dot.
///
/// Cost: the product of the lengths at worst, however many stars there are.
#[must_use]
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && !matches!(pattern, [b'.', ..] | [b'\\', b'.', ..]) {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last star does not fit: one character further.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, n));
            p += 1;
            continue;
        }
        if let Some((pattern_step, name_step)) = step(&pattern[p..], &name[n..]) {
            p += pattern_step;
            n += name_step;
            continue;
        }
        match retry {
            Some((after, at)) => {
                let next = at + character(&name[at..]).len();
                retry = Some((after, next));
                (p, n) = (after, next);
            }
            None => return false,
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// Whether a path can be what a pattern expands to: one name for each of its names, where a name
/// without wildcards stands for itself.
#[must_use]
pub fn expands_to(pattern: &[u8], path: &[u8]) -> bool {
    let names = |path: &'_ [u8]| path.split(|&b| b == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (patterns, names) = (names(pattern), names(path));
    let fits = |pattern: &[u8], name: &[u8]| match has_patterns(pattern) {
        true => !matches!(name, b"" | b"." | b"..") && matches(pattern, name),
        false => *literal(pattern) == *name,
    };
    patterns.len() == names.len() && patterns.iter().zip(&names).all(|(p, n)| fits(p, n))
}

/// Matches the first item of a pattern, no star, with the first character of a name.
fn step(pattern: &[u8], name: &[u8]) -> Option<(usize, usize)> {
    match pattern {
        [] => None,
        [b'?', ..] => Some((1, character(name).len())),
        [b'[', rest @ ..] => match class(rest, character(name)) {
            Some((length, matched)) => matched.then(|| (length + 1, character(name).len())),
            // Never closed, so a plain bracket.
            None => (name.first() == Some(&b'[')).then_some((1, 1)),
        },
        [b'\\', escaped, ..] => (name.first() == Some(escaped)).then_some((2, 1)),
        [byte, ..] => (name.first() == Some(byte)).then_some((1, 1)),
    }
}

/// Parses a class behind its bracket: its length with the closing one, and whether it matches.
fn class(pattern: &[u8], wanted: &[u8]) -> Option<(usize, bool)> {
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let mut matched = false;
    let mut first = true;
    loop {
        if pattern.get(at) == Some(&b']') && !first {
            return Some((at + 1, matched != negated));
        }
        first = false;
        let low = item(pattern, &mut at)?;
        let is_range =
            pattern.get(at) == Some(&b'-') && !matches!(pattern.get(at + 1), None | Some(b']'));
        if is_range {
            at += 1;
            let high = item(pattern, &mut at)?;
            matched |= low <= wanted && wanted <= high && low.len() <= wanted.len();
        } else {
            matched |= low == wanted;
        }
    }
}

/// One character of a class, `\` taken away.
fn item<'p>(pattern: &'p [u8], at: &mut usize) -> Option<&'p [u8]> {
    if pattern.get(*at) == Some(&b'\\') && *at + 1 < pattern.len() {
        *at += 1;
    }
    let found = character(pattern.get(*at..)?);
    *at += found.len();
    (!found.is_empty()).then_some(found)
}

/// The first character of some bytes: a UTF-8 sequence, or a single byte where there is none.
fn character(bytes: &[u8]) -> &[u8] {
    let length = (1..=bytes.len().min(4))
        .find(|&length| std::str::from_utf8(&bytes[..length]).is_ok())
        .unwrap_or(1);
    &bytes[..length.min(bytes.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, matched, missed) in [
            ("*", "a b ab a*b", ".a"),
            ("*.txt", "a.txt .txt.txt", "a.txt.gz .txt txt"),
            (".*", ".a .txt", "a"),
            ("a*b*c", "abc aXbYc abcbc", "ab acb abcd"),
            ("?", "a é *", "ab"),
            ("[abc]x", "ax bx", "dx x abx"),
            ("[a-cé]x", "bx éx", "dx èx"),
            ("[!a-c]x", "dx éx", "ax bx"),
            ("[]]", "]", "["),
            ("[a", "[a", "a"),
            ("a\\*", "a*", "ab a\\*"),
            ("[\\]x]", "] x", "\\"),
            ("[a-]", "a -", "b"),
        ] {
            let matches =
                |name: &str| matches(pattern.as_bytes(), name.replace('_', " ").as_bytes());
            for name in matched.split(' ').filter(|n| !n.starts_with(".txt.txt")) {
                assert!(matches(name), "{pattern} matches {name}");
            }
            for name in missed.split(' ') {
                assert!(!matches(name), "{pattern} does not match {name}");
            }
        }
        assert!(matches(b"?", b"\xff") && matches(b"a*", b"a\xff\n"));
        assert!(!matches(b"?", b"\xff\xfe") && matches(b"", b"") && matches(b"**", b""));
    }

    #[test]
    fn a_path_is_what_its_pattern_allows() {
        for (pattern, allowed, others) in [
            ("/x/*.txt", "/x/a.txt", "/x/.a.txt /x/a.txt/b.txt /y/a.txt x/a.txt /x/../a.txt /x/"),
            ("/x/*/r", "/x/a/r", "/x/../r /x/./r /x//r /x/.a/r /x/a/r/"),
            (".*/", ".a/", "../ ./ .a a/"),
            ("a\\*/[b]", "a*/b", "a\\*/b a/b"),
        ] {
            assert!(expands_to(pattern.as_bytes(), allowed.as_bytes()), "{pattern}: {allowed}");
            for other in others.split(' ') {
                assert!(!expands_to(pattern.as_bytes(), other.as_bytes()), "{pattern}: {other}");
            }
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = b"*a".repeat(60);
        assert!(!matches(&pattern, &[b'b'; 255]));
        assert!(!matches(&pattern, &[b"a".repeat(59), b"b".repeat(190)].concat()));
    }

    #[test]
    fn escapes_are_taken_away() {
        assert!(!has_patterns(b"a\\*b") && has_patterns(b"a\\\\*") && !has_patterns(b"plain"));
        assert_eq!(&*literal(b"a\\*b\\\\"), b"a*b\\");
        assert_eq!(&*literal(b"end\\"), b"end\\");
    }
}
