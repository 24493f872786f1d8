//! What the operating system says about the person and the machine

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use tokio::process::Command;

use crate::disk::settings_file;

const USER_DATABASE: &str = "/etc/passwd";
const USER_DATABASE_BYTES_MAX: u64 = 16 << 20;

/// Keys that open accounts or machines, which no program that is started here has any use for
const WITHHELD: [&str; 5] =
    ["VAST_API_KEY", "CONTAINER_API_KEY", "JUPYTER_TOKEN", "RUNPOD_API_KEY", "LAMBDA_API_KEY"];

/// What tokens and defaults of the configuration stand for
#[derive(Debug, Clone)]
pub(super) struct Environment {
    pub(super) home: Option<PathBuf>,
    pub(super) user: String,
    pub(super) user_id: u32,
    pub(super) host: String,
    pub(super) agent_socket: Option<OsString>,
    pub(super) shell: OsString,
}

impl Environment {
    /// Asks the system; ssh takes home and name from the user database, not from variables
    pub(super) fn current() -> Self {
        let user_id = rustix::process::getuid().as_raw();
        let (user, home) = user_entry(user_id);
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            home: home.or_else(env::home_dir).filter(|path| path.is_absolute()),
            user: user.or_else(|| env::var("USER").ok()).unwrap_or_else(|| user_id.to_string()),
            user_id,
            host,
            agent_socket: env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()),
            shell: env::var_os("SHELL")
                .filter(|path| !path.is_empty())
                .unwrap_or_else(|| "/bin/sh".into()),
        }
    }

    /// The value of a variable, for `${NAME}`
    pub(super) fn variable(name: &str) -> Option<String> {
        env::var(name).ok()
    }
}

/// The same program without keys that are none of its business: others may read the environment of
/// what it starts in turn
pub(crate) fn without_keys(mut command: Command) -> Command {
    for name in WITHHELD {
        command.env_remove(name);
    }
    command
}

fn user_entry(user_id: u32) -> (Option<String>, Option<PathBuf>) {
    let path = std::path::Path::new(USER_DATABASE);
    let Ok(file) = settings_file::read(path, USER_DATABASE_BYTES_MAX) else { return (None, None) };
    let text = String::from_utf8_lossy(&file.bytes);
    let wanted = user_id.to_string();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, id, _, _, home, ..] = fields[..]
            && id == wanted
        {
            return (Some(name.to_owned()), Some(PathBuf::from(home)));
        }
    }
    (None, None)
}
