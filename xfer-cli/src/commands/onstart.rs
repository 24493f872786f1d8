//! `--print-onstart`: a script that starts the same watch wherever a machine starts.

use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;

use xfer_core::error::ExitClass;

use super::Context;
use crate::Outcome;
use crate::problem::CliError;

/// Platforms take scripts of so many bytes.
const SCRIPT_BYTES_MAX: usize = 16 * 1024;

/// What stands in the script as it is.
const TEMPLATE: &str = include_str!("onstart.sh");

/// Prints the script of this very command line.
pub(super) fn print(context: &Context) -> Outcome {
    let directory = std::env::current_dir().map_err(|error| {
        CliError::new(ExitClass::Other, "no-directory", "the working directory cannot be told")
            .why(error)
    })?;
    let program = std::env::current_exe().unwrap_or_else(|_| "xfer".into());
    let script = script(directory.as_os_str(), program.as_os_str(), std::env::args_os().skip(1));
    if script.len() >= SCRIPT_BYTES_MAX {
        let what = format!(
            "the script would have {} bytes, and platforms take less than {SCRIPT_BYTES_MAX}",
            script.len()
        );
        return Err(CliError::usage("onstart-too-long", what)
            .next("put patterns and paths into files: --exclude-from, --files-from"));
    }
    context.output.result(script.as_bytes());
    context.output.conclude(Some(&script));
    Ok(ExitClass::Done)
}

fn script(directory: &OsStr, program: &OsStr, words: impl Iterator<Item = OsString>) -> String {
    let words = watching(words);
    let mut hasher = DefaultHasher::new();
    (directory, &words).hash(&mut hasher);
    let name = format!("watch-{:016x}", hasher.finish());
    let words: Vec<_> = words.iter().map(|word| quoted(word.as_bytes())).collect();
    let filled = [
        ("@VERSION@", env!("CARGO_PKG_VERSION").to_owned()),
        ("@DIRECTORY@", quoted(directory.as_bytes())),
        ("@PROGRAM@", quoted(program.as_bytes())),
        ("@NAME@", name),
        ("@WORDS@", words.join(" ")),
    ];
    // Each is put in by itself, for what is put in may look like the next one's mark.
    let mut script = String::new();
    let mut rest = TEMPLATE;
    while let Some(at) = rest.find('@') {
        script.push_str(&rest[..at]);
        rest = &rest[at..];
        match filled.iter().find(|(mark, _)| rest.starts_with(mark)) {
            Some((mark, text)) => {
                script.push_str(text);
                rest = &rest[mark.len()..];
            }
            None => {
                script.push('@');
                rest = &rest[1..];
            }
        }
    }
    script.push_str(rest);
    script
}

/// The same words, but that they watch and print no script.
fn watching(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let (mut kept, mut are_flags) = (Vec::new(), true);
    for word in words {
        are_flags &= word != "--";
        if !(are_flags && (word == "--print-onstart" || word == "--watch")) {
            kept.push(word);
        }
    }
    kept.insert(1.min(kept.len()), "--watch".into());
    kept
}

/// A word as bash reads it back, whatever bytes it has.
fn quoted(word: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_%+=:,./-".contains(byte);
    let text = std::str::from_utf8(word).ok();
    match text {
        Some(text) if !word.is_empty() && word.iter().all(is_plain) => text.to_owned(),
        Some(text) if !text.chars().any(char::is_control) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => {
            let escaped = word.iter().map(|&byte| match byte {
                b'\\' | b'\'' => format!("\\{}", char::from(byte)),
                b' '..=b'~' => char::from(byte).to_string(),
                byte => format!("\\{byte:03o}"),
            });
            format!("$'{}'", escaped.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const AWKWARD: &[&[u8]] = &[
        b"push",
        b"plain/a-b.c",
        b"with blank",
        b"it's",
        b"$(touch never) `touch never` ${HOME} !x \\ \"",
        b"new\nline\ttab",
        b"\xff\xfe latin \xe9",
        "naïve ✓".as_bytes(),
        b"",
        b"-flag=*?[a]{b,c}~#;&|<>()",
        b"\x01\x7f'\\",
        b"@WORDS@ @NAME@",
    ];

    fn bash(script: &[u8], more: &[&str]) -> std::process::Output {
        let mut file = tempfile::NamedTempFile::new().expect("temp file");
        std::io::Write::write_all(&mut file, script).expect("write");
        let mut command = Command::new("bash");
        command.args(more).arg(file.path()).stdin(Stdio::null());
        command.output().expect("bash")
    }

    #[test]
    fn every_word_comes_back_as_it_was() {
        let words: Vec<_> = AWKWARD.iter().map(|word| quoted(word)).collect();
        let script = format!("printf '%s\\0' {}", words.join(" "));
        let output = bash(script.as_bytes(), &[]);
        assert!(output.status.success(), "{output:?}");
        let expected: Vec<u8> = AWKWARD.iter().flat_map(|w| [*w, b"\0"].concat()).collect();
        assert_eq!(output.stdout, expected);
    }

    #[test]
    fn the_script_is_one_and_has_no_marks_left() {
        let words = AWKWARD.iter().map(|word| OsStr::from_bytes(word).to_owned());
        let script = script(OsStr::new("/work dir"), OsStr::new("/opt/it's/xfer"), words);
        let output = bash(script.as_bytes(), &["-n"]);
        assert!(output.status.success(), "{output:?}");
        assert!(script.contains("directory='/work dir'\n"), "{script}");
        assert!(!script.contains("@DIRECTORY@") && !script.contains("@VERSION@"), "{script}");
        assert!(script.len() < SCRIPT_BYTES_MAX / 2);
    }

    #[test]
    fn the_command_watches_and_prints_nothing() {
        let words = |words: &[&str]| watching(words.iter().map(OsString::from));
        assert_eq!(words(&["push", "--print-onstart", "a", "b"]), ["push", "--watch", "a", "b"]);
        assert_eq!(words(&["sync", "--watch", "a", "b"]), ["sync", "--watch", "a", "b"]);
        assert_eq!(
            words(&["push", "--", "--watch", "b"]),
            ["push", "--watch", "--", "--watch", "b"]
        );
    }
}
