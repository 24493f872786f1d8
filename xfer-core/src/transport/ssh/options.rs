//! What a caller decides about a connection

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::prompt::Prompt;

/// How to connect; clones share one lock, so that all of them together dial one at a time
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// Key files, as `-i`; none by default, then the configuration's
    pub identities: Vec<PathBuf>,
    /// Configuration file, as `-F`; the user's and the system's by default
    pub config_file: Option<PathBuf>,
    /// Jump hosts separated by commas, or `none`, as `-J`
    pub jump: Option<String>,
    /// Port, as `-p`; a port in the target comes first
    pub port: Option<u16>,
    /// Further options, as `-o KEYWORD=VALUE`
    pub options: Vec<String>,
    /// Limit for one hop to resolve, connect, greet and exchange keys; 10 s by default
    ///
    /// `ConnectTimeout` of the configuration comes first.
    pub connect_timeout: Duration,
    /// How long a host that takes no further logins is asked again; 60 s by default
    pub busy_budget: Duration,
    /// Who answers questions
    pub interactive: Arc<dyn Prompt>,
    /// A random number, from which pauses take their jitter
    pub seed: u64,
    pub(super) dialling: Arc<Mutex<()>>,
    /// The program that resolves hosts; our own parser does it where this is missing
    pub(super) ssh_program: OsString,
}

impl SshOptions {
    /// The defaults; `seed` must differ from process to process
    pub fn new(interactive: Arc<dyn Prompt>, seed: u64) -> Self {
        Self {
            identities: Vec::new(),
            config_file: None,
            jump: None,
            port: None,
            options: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            busy_budget: Duration::from_secs(60),
            interactive,
            seed,
            dialling: Arc::new(Mutex::new(())),
            ssh_program: "ssh".into(),
        }
    }

    /// The same for dials that wait for none of the others
    pub(crate) fn side_by_side(self) -> Self {
        Self { dialling: Arc::new(Mutex::new(())), ..self }
    }

    /// What ssh passes on to a jump host: the configuration file, and none of the rest
    pub(super) fn for_jump(&self, jump: Option<String>) -> Self {
        Self {
            identities: Vec::new(),
            port: None,
            options: Vec::new(),
            jump,
            dialling: Arc::new(Mutex::new(())),
            ..self.clone()
        }
    }
}
