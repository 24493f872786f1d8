//! A host: a network namespace

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const NAMESPACES: &str = "/run/netns";
const PREFIX: &str = "xfer-";

/// A network namespace, removed with its last clone
///
/// It has a loopback of its own, no other address until a [`super::Link`] gives one, and no way
/// out.
#[derive(Clone, Debug)]
pub struct Host(Arc<Namespace>);

#[derive(Debug)]
struct Namespace {
    name: String,
    entrance: File,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A host whose name no other test bears
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_orphans();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("{PREFIX}{}-{number}", std::process::id()))
    }

    /// A host under a name for `ip netns exec NAME`; an older one of that name is gone
    pub fn named(name: &str) -> Self {
        if Path::new(NAMESPACES).join(name).exists() {
            delete(name);
        }
        ip(&["netns", "add", name]);
        let path = Path::new(NAMESPACES).join(name);
        let entrance = File::open(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let host = Self(Arc::new(Namespace { name: name.to_owned(), entrance }));
        host.ip(&["link", "set", "lo", "up"]);
        host
    }

    /// What `ip netns` calls it
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Does something on a thread that is in this host: sockets, processes and threads that it
    /// makes stay there
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                let entrance = self.0.entrance.as_fd();
                move_into_link_name_space(entrance, Some(LinkNameSpaceType::Network))
                    .expect("the network laboratory needs root to enter a namespace");
                act()
            });
            done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip` of iproute2 in this host
    pub fn ip(&self, arguments: &[&str]) {
        let mut all = vec!["-n", self.name()];
        all.extend(arguments);
        ip(&all);
    }

    /// Gives one more address to the device at this host's end of a link
    pub fn add_address(&self, address: Ipv4Addr, device: &str) {
        self.ip(&["address", "add", &format!("{address}/24"), "dev", device]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the network laboratory needs `ip`: apt-get install iproute2");
    let said = String::from_utf8_lossy(&output.stderr);
    let line = arguments.join(" ");
    assert!(output.status.success(), "`ip {line}` failed; are you root? {}", said.trim());
}

fn delete(name: &str) {
    drop(Command::new("ip").args(["netns", "delete", name]).stderr(Stdio::null()).status());
}

/// A process that was killed leaves its hosts behind
fn remove_orphans() {
    let Ok(names) = std::fs::read_dir(NAMESPACES) else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        if owner.is_some_and(|(id, _)| !Path::new("/proc").join(id).exists()) {
            delete(&name);
        }
    }
}
