//! Names that have broken programs before

/// Names that are hard to print, to quote, to match or to fit
pub fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = TEXT.iter().map(|name| name.as_bytes().to_vec()).collect();
    names.extend(BYTES.iter().map(|name| name.to_vec()));
    names.extend((1..=255).filter(|byte| !b"/.".contains(byte)).map(|byte| vec![byte]));
    names.push(vec![b'a'; 255]);
    names.push(vec![0xff; 255]);
    names.push(vec![b'\n'; 255]);
    names.push("€".repeat(85).into_bytes());
    names.push(format!("{}.txt", "b".repeat(251)).into_bytes());
    distinct(names)
}

/// The strings of the big list of naughty strings that can be a file's name
pub fn naughty_names() -> Vec<Vec<u8>> {
    let fits = |name: &&str| {
        (1..=255).contains(&name.len())
            && !name.contains(['/', '\0'])
            && !matches!(*name, "." | "..")
    };
    let strings = naughty_strings::BLNS.iter().copied().filter(fits);
    distinct(strings.map(|name| name.as_bytes().to_vec()).collect())
}

fn distinct(mut names: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    names.sort();
    names.dedup();
    names
}

const TEXT: &[&str] = &[
    "plain",
    // Options, and what a shell would take for more than a name
    "-rf",
    "--delete",
    "--",
    "-n",
    "--rsh=touch pwned",
    "$HOME",
    "$(touch pwned)",
    "`touch pwned`",
    "a;touch pwned",
    "a|b",
    "a&b",
    "a>b",
    "a'b",
    "a\"b",
    "a\\b",
    "trailing\\",
    "~root",
    "#comment",
    "!history",
    "*.txt",
    "[a-z]",
    "{a,b}",
    "**",
    // Locations
    "host:path",
    "a:b",
    "C:",
    "s3:",
    "user@host",
    "%2e%2e%2f",
    "%00",
    // Blanks and dots
    " leading",
    "trailing ",
    "  both  ",
    "in the middle",
    "...",
    ".. ",
    " ..",
    "..a",
    ".hidden",
    "dot.",
    "tab\there",
    "line\nbreak",
    "\n",
    "\r\n",
    "return\rhere",
    "\u{1b}[31mred\u{1b}[0m",
    "bell\u{7}",
    // Twins: composed and decomposed, upper and lower case, alike and not the same
    "caf\u{e9}",
    "cafe\u{301}",
    "\u{c5}ngstr\u{f6}m",
    "A\u{30a}ngstro\u{308}m",
    "\u{212b}ngstr\u{f6}m",
    "Readme",
    "README",
    "readme",
    "stra\u{df}e",
    "strasse",
    "\u{130}stanbul",
    "\u{131}stanbul",
    // Marks that show nothing, turn the line around, or stand for a failed decode
    "zero\u{200b}width",
    "\u{feff}bom",
    "right\u{202e}txt.exe",
    "non\u{a0}breaking",
    "\u{fffd}",
    "\u{10ffff}",
    "\u{1f469}\u{200d}\u{1f4bb}",
    // Reserved elsewhere
    "CON",
    "NUL.txt",
    "aux",
    "COM1",
    "._resource",
    ".DS_Store",
    "Icon\r",
    "desktop.ini",
    "lost+found",
    "core",
    "file~",
    ".git",
    ".rsync-filter",
    ".gitignore",
];

const BYTES: &[&[u8]] = &[
    b"latin1-caf\xe9",
    b"\xff\xfe",
    b"\x80 continuation",
    b"overlong \xc0\xaf",
    b"surrogate \xed\xa0\x80",
    b"cut short \xe2\x82",
    b"\xf5 too high",
    b"shift-jis \x83\x5c",
    b"mixed \xe2\x82\xac and \xe9",
    b"\xff\nnewline",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_the_list_is_large() {
        let (own, naughty) = (names(), naughty_names());
        for name in own.iter().chain(&naughty) {
            assert!((1..=255).contains(&name.len()), "{name:?}");
            assert!(!name.contains(&b'/') && !name.contains(&0), "{name:?}");
            assert!(name != b"." && name != b"..");
        }
        assert!(own.len() > 330, "{}", own.len());
        assert!(naughty.len() > 300, "{}", naughty.len());
        assert!(own.iter().filter(|name| std::str::from_utf8(name).is_err()).count() > 130);
    }
}
