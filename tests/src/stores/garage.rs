//! garage: a store that people run, the strictest about parts and their checksums
//!
//! It is built in minutes and from nowhere else, so it is used where it is there: on PATH, or as
//! `XFER_TEST_GARAGE` names it.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Access, programs};
use crate::random::Random;
use crate::xfer::Running;

/// The store, which answers until it is dropped
#[derive(Debug)]
pub struct Garage {
    access: Access,
    _directory: TempDir,
    _running: Running,
}

impl Garage {
    /// With one bucket that is empty; `None`, said loudly, where there is no garage
    pub fn start() -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("NOT TESTED with garage: no such program on PATH or in XFER_TEST_GARAGE");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("garage-").tempdir().expect("temp dir");
        let ports = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").expect("bind"));
        let ports = ports.map(|listener| listener.local_addr().expect("an address").port());
        configure(directory.path(), ports);
        let mut access = Access::on(ports[0]);
        let mut random = Random::new(u64::from(ports[0]));
        access.key = format!("GK{}", digits(&random.bytes(12)));
        access.secret = digits(&random.bytes(32));
        access.region = String::from("garage");
        let mut command = programs::command(&program);
        command.arg("-c").arg(directory.path().join("garage.toml"));
        command.args(["server", "--single-node", "--default-bucket"]);
        command.env("GARAGE_DEFAULT_ACCESS_KEY", &access.key);
        command.env("GARAGE_DEFAULT_SECRET_KEY", &access.secret);
        command.env("GARAGE_DEFAULT_BUCKET", &access.bucket).env("NO_COLOR", "1");
        let before = "S3 API server listening on http://127.0.0.1:";
        let (running, _) = programs::listening(&command, before);
        Some(Self { access, _directory: directory, _running: running })
    }

    /// How it is spoken to
    pub fn access(&self) -> &Access {
        &self.access
    }
}

fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("XFER_TEST_GARAGE") {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|directory| directory.join("garage"));
    places.find(|place| place.is_file())
}

fn configure(directory: &Path, [s3, peers, admin]: [u16; 3]) {
    let place = directory.display();
    let secret = digits(&Random::new(u64::from(peers)).bytes(32));
    let text = format!(
        "metadata_dir = \"{place}/meta\"\ndata_dir = \"{place}/data\"\ndb_engine = \"sqlite\"\n\
         replication_factor = 1\nmetadata_fsync = false\ndata_fsync = false\n\
         rpc_bind_addr = \"127.0.0.1:{peers}\"\nrpc_public_addr = \"127.0.0.1:{peers}\"\n\
         rpc_secret = \"{secret}\"\n\
         [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{s3}\"\n\
         root_domain = \".s3.localhost\"\n[admin]\napi_bind_addr = \"127.0.0.1:{admin}\"\n"
    );
    let path = directory.join("garage.toml");
    fs::write(&path, text).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set a mode");
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("written to memory");
        text
    })
}
