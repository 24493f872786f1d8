//! Runs programs and says so

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a task comes to: nothing, or a sentence for the developer
pub(crate) type Done<T = ()> = Result<T, String>;

/// The cargo that runs this task, in the root of the workspace
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What cargo told this task about the task's own package would make some build scripts believe
    // that theirs had changed, and everything above them would be compiled again.
    for (name, _) in std::env::vars_os() {
        let own = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
        if own.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env_remove("OUT_DIR");
    command
}

/// The root of the workspace
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// Runs a command after printing it
pub(crate) fn shown(command: &mut Command) -> Done {
    eprintln!("+ {}", described(command));
    let status = command.status().map_err(|error| format!("{}: {error}", described(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", described(command))) }
}

/// Runs a command and takes what it prints
pub(crate) fn captured(command: &mut Command) -> Done<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", described(command)))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("{}: {}", described(command), output.status)),
    }
}

/// Turns a failed file operation into a sentence
pub(crate) fn at<T>(path: &Path, result: std::io::Result<T>) -> Done<T> {
    result.map_err(|error| format!("{}: {error}", path.display()))
}

/// A program on the search path, or in the directories of the administrator
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path);
    let places = places.chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    places.map(|place| place.join(name)).find(|path| path.is_file())
}

fn described(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
