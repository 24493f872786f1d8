//! Reading the files that a user names: configuration, patterns, lists, receipts.

use std::io::Read;
use std::path::Path;

use xfer_core::disk::settings_file::{self, SettingsFile, SettingsFileError, SettingsFileProblem};
use xfer_protocol::path::Escaped;

use crate::problem::CliError;

/// Bytes of a configuration or pattern file: far beyond any that a person wrote.
pub(crate) const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of a list of paths or a receipt: some millions of entries.
pub(crate) const LIST_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Reads a file; `None` when there is none. What everybody may write is not believed.
pub(crate) fn read_optional(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, CliError> {
    believed(path, settings_file::read(path, limit))
}

fn believed(
    path: &Path,
    file: Result<SettingsFile, SettingsFileError>,
) -> Result<Option<Vec<u8>>, CliError> {
    let file = match file {
        Ok(file) => file,
        Err(error) => {
            let reason = match error.reason {
                SettingsFileProblem::Missing => return Ok(None),
                SettingsFileProblem::TooLong { .. } => "config-too-large",
                _ => "config-unreadable",
            };
            return Err(refuse(path, reason, &error.reason.to_string()));
        }
    };
    if file.mode & 0o002 != 0 {
        return Err(refuse(path, "config-exposed", "everybody may write it")
            .next(format!("chmod o-w {}", path.display())));
    }
    Ok(Some(file.bytes))
}

/// Reads a file or pipe that must be there; `-` is standard input.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    if path.as_os_str() == "-" {
        return standard_input(limit);
    }
    believed(path, settings_file::read_stream(path, limit))?
        .ok_or_else(|| refuse(path, "config-missing", "there is no such file"))
}

fn standard_input(limit: u64) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let refused = |reason, why: &str| refuse(Path::new("standard input"), reason, why);
    let read = std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| refused("config-unreadable", &error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(refused("config-too-large", "it is too large"));
    }
    Ok(bytes)
}

fn refuse(path: &Path, reason: &'static str, why: &str) -> CliError {
    let place = Escaped(path.as_os_str().as_encoded_bytes());
    let refused = CliError::config(reason, format!("{place}: {why}"));
    match reason {
        "config-missing" => {
            refused.next("look at the spelling; a relative path is below the working directory")
        }
        "config-unreadable" => refused.next("name a regular file, or - for standard input"),
        "config-too-large" => refused.next("name a smaller file"),
        _ => refused,
    }
}
