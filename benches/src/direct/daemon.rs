//! An rsync daemon over plain TCP, the reference without cryptography

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::free_port;
use crate::Done;

const READY_WITHIN: Duration = Duration::from_secs(10);

/// A daemon whose one module is a directory; it ends as it is dropped
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    /// What the module is called
    pub(super) const MODULE: &'static str = "memory";

    pub(super) fn start(root: &Path) -> Done<Self> {
        let port = free_port()?;
        let path = root.join("rsyncd.conf");
        let (module, place) = (Self::MODULE, root.display());
        let text = format!(
            "address = 127.0.0.1\nuse chroot = no\nuid = root\ngid = root\n\
             [{module}]\npath = {place}\nread only = no\n"
        );
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        let child = Command::new("rsync")
            .args(["--daemon", "--no-detach", "--port", &port.to_string(), "--config"])
            .arg(&path)
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("rsync: {error}"))?;
        let daemon = Self { child, port };
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                return Err(String::from("the rsync daemon does not listen"));
            }
            std::thread::yield_now();
        }
        Ok(daemon)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
