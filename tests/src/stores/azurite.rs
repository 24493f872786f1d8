//! Azurite: Azure's blobs in memory

use super::programs;
use crate::xfer::Running;

/// The key that everybody knows
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The store, which answers until it is dropped
#[derive(Debug)]
pub struct Azurite {
    port: u16,
    _running: Running,
}

impl Default for Azurite {
    fn default() -> Self {
        Self::start()
    }
}

impl Azurite {
    /// The account that everybody knows
    pub const ACCOUNT: &str = "devstoreaccount1";

    /// The container that is there from the beginning
    pub const CONTAINER: &str = "container";

    /// With one container that is empty
    pub fn start() -> Self {
        let mut command = programs::command(&programs::from_npm(".bin/node"));
        command.arg(programs::from_npm("azurite/dist/src/blob/main.js"));
        command.args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]);
        command.args(["--skipApiVersionCheck", "--disableTelemetry", "--silent"]);
        let (running, port) = programs::listening(&command, "listens on http://127.0.0.1:");
        let store = Self { port, _running: running };
        let place = format!(":azureblob:{}", Self::CONTAINER);
        let made = store.rclone().args(["mkdir", &place]).output().expect("run rclone");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        store
    }

    /// The address of the account, without a path behind it
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{}", self.port, Self::ACCOUNT)
    }

    /// The port on 127.0.0.1
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What Azure's own programs read
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AZURE_STORAGE_ACCOUNT", Self::ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_NAME", Self::ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", KEY),
            ("AZURE_STORAGE_KEY", KEY),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// rclone, which calls the store `:azureblob:`
    pub fn rclone(&self) -> std::process::Command {
        let mut command = programs::command(&programs::from_pypi("rclone"));
        command.env("RCLONE_AZUREBLOB_ACCOUNT", Self::ACCOUNT).env("RCLONE_AZUREBLOB_KEY", KEY);
        command.env("RCLONE_AZUREBLOB_ENDPOINT", self.endpoint());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_there() {
        let store = Azurite::start();
        let listed = store.rclone().args(["lsf", ":azureblob:"]).output().expect("run rclone");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert_eq!(listed, format!("{}/\n", Azurite::CONTAINER));
    }
}
