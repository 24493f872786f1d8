//! A Python wheel that holds the program and no Python
//!
//! `pip install xfer-….whl` puts the program on the path of a machine that has Python and nothing
//! else, as most GPU containers do. A wheel is a zip archive with a list of digests; writing those
//! few lines here keeps the build free of Python, and its bytes the same each time. The program is
//! static, so the wheel claims any Linux: glibc from 2.17 (the first that pip can name so) and
//! musl.

use std::path::Path;

use crate::release::{Kit, sha256};
use crate::run::{Done, at};
use crate::zip::{Member, archive};

const TAGS: [&str; 3] = ["manylinux_2_17_x86_64", "manylinux2014_x86_64", "musllinux_1_1_x86_64"];

/// Writes the wheel into `directory` and returns its name
pub(crate) fn write(kit: &Kit, directory: &Path) -> Done<String> {
    let version = &kit.version;
    let (data, info) = (format!("xfer-{version}.data"), format!("xfer-{version}.dist-info"));
    let mut members = Vec::new();
    let mut add = |name: String, mode, content: &[u8]| {
        members.push(Member { name, mode, content: content.to_vec() });
    };
    for file in &kit.files {
        match file.name {
            "xfer" => add(format!("{data}/scripts/xfer"), 0o755, &file.content),
            "xfer.1" => add(format!("{data}/data/share/man/man1/xfer.1"), 0o644, &file.content),
            "LICENSE-MIT" | "LICENSE-APACHE" => {
                add(format!("{info}/licenses/{}", file.name), 0o644, &file.content);
            }
            _ => {}
        }
    }
    add(format!("{info}/METADATA"), 0o644, metadata(version, &kit.readme).as_bytes());
    add(format!("{info}/WHEEL"), 0o644, tags().as_bytes());
    let record = record(&members, &format!("{info}/RECORD"))?;
    members.push(Member { name: format!("{info}/RECORD"), mode: 0o644, content: record });

    let name = format!("xfer-{version}-py3-none-{}.whl", TAGS.join("."));
    at(directory, std::fs::write(directory.join(&name), archive(&members)?))?;
    Ok(name)
}

fn metadata(version: &str, readme: &str) -> String {
    format!(
        "Metadata-Version: 2.4\nName: xfer\nVersion: {version}\n\
         Summary: Moves datasets into rented machines and checkpoints out of them, proven\n\
         License-Expression: MIT OR Apache-2.0\n\
         License-File: LICENSE-APACHE\nLicense-File: LICENSE-MIT\n\
         Requires-Python: >=3.7\nDescription-Content-Type: text/markdown\n\n{readme}"
    )
}

fn tags() -> String {
    let mut text =
        String::from("Wheel-Version: 1.0\nGenerator: xfer xtask\nRoot-Is-Purelib: false\n");
    for tag in TAGS {
        text.push_str(&format!("Tag: py3-none-{tag}\n"));
    }
    text
}

fn record(members: &[Member], own_name: &str) -> Done<Vec<u8>> {
    let mut text = String::new();
    for member in members {
        let digest = base64_url(&sha256(&member.content)?);
        text.push_str(&format!("{},sha256={digest},{}\n", member.name, member.content.len()));
    }
    text.push_str(&format!("{own_name},,\n"));
    Ok(text.into_bytes())
}

/// base64 for URLs, without padding
fn base64_url(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let joined = group.iter().fold(0_usize, |joined, byte| joined << 8 | usize::from(*byte));
        let joined = joined << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            text.push(char::from(alphabet[joined >> (18 - 6 * place) & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_standard_examples() {
        for (bytes, text) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64_url(bytes.as_bytes()), text);
        }
        assert_eq!(base64_url(&[0xfb, 0xff]), "-_8");
    }
}
