//! Servers that say what they may not say

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh_sftp::protocol::{
    Attrs, Data, File, FileAttributes, Handle, Name, OpenFlags, Status, StatusCode, Version,
};
use russh_sftp::server::Handler;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::sync::CancellationToken;
use xfer_core::connect::{Connected, Connector};
use xfer_core::endpoint::sftp::{SftpEndpoint, SftpOptions};
use xfer_core::endpoint::{Endpoint, EndpointError, LostReason, ProtocolReason};
use xfer_core::engine::{Summary, Transfer, run};
use xfer_core::error::ExitClass;
use xfer_core::event::Event;
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::options::TransferOptions;
use xfer_core::transport::Stream;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_protocol::message::Locate;

/// A server of another make, whose one directory holds what it likes
struct Liar {
    names: Vec<&'static str>,
    /// Directories that were opened and not yet listed
    listed: HashMap<String, bool>,
}

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;

fn attributes(path: &str) -> FileAttributes {
    let directory = matches!(path.trim_end_matches('/'), "" | "/tree");
    FileAttributes {
        size: Some(4),
        permissions: Some(if directory { DIRECTORY } else { FILE }),
        mtime: Some(1_600_000_000),
        atime: Some(1_600_000_000),
        ..FileAttributes::default()
    }
}

impl Handler for Liar {
    type Error = StatusCode;

    fn unimplemented(&self) -> StatusCode {
        StatusCode::OpUnsupported
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Result<Version, StatusCode> {
        Ok(Version::new())
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, StatusCode> {
        Ok(Attrs { id, attrs: attributes(&path) })
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs, StatusCode> {
        Ok(Attrs { id, attrs: attributes(&path) })
    }

    async fn fstat(&mut self, id: u32, _: String) -> Result<Attrs, StatusCode> {
        Ok(Attrs { id, attrs: attributes("a file") })
    }

    async fn realpath(&mut self, id: u32, path: String) -> Result<Name, StatusCode> {
        Ok(Name { id, files: vec![File::dummy(path.trim_end_matches('/'))] })
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, StatusCode> {
        self.listed.insert(path.clone(), false);
        Ok(Handle { id, handle: path })
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name, StatusCode> {
        match self.listed.insert(handle, true) {
            Some(false) => {
                let file = |name: &&str| File::new(*name, attributes(name));
                Ok(Name { id, files: self.names.iter().map(file).collect() })
            }
            _ => Err(StatusCode::Eof),
        }
    }

    async fn open(
        &mut self,
        id: u32,
        path: String,
        _: OpenFlags,
        _: FileAttributes,
    ) -> Result<Handle, StatusCode> {
        Ok(Handle { id, handle: path })
    }

    async fn read(&mut self, id: u32, _: String, _: u64, _: u32) -> Result<Data, StatusCode> {
        Ok(Data { id, data: b"evil".to_vec() })
    }

    async fn close(&mut self, id: u32, _: String) -> Result<Status, StatusCode> {
        let (error_message, language_tag) = ("fine".to_owned(), String::new());
        Ok(Status { id, status_code: StatusCode::Ok, error_message, language_tag })
    }
}

fn stream(end: DuplexStream) -> Stream {
    let (reader, writer) = tokio::io::split(end);
    Stream::new(reader, writer)
}

async fn liar(names: Vec<&'static str>) -> SftpEndpoint {
    let (near, far) = tokio::io::duplex(1 << 16);
    russh_sftp::server::run(far, Liar { names, listed: HashMap::new() }).await;
    SftpEndpoint::open(stream(near), SftpOptions::default()).await.unwrap()
}

/// Pulls `/tree` from a server that lists these names
async fn pull(names: Vec<&'static str>, place: &Path) -> Summary {
    let endpoint = Arc::new(liar(names).await);
    let host = SshHost { user: None, host: "liar".to_owned(), port: None };
    let machine = Machine::Ssh(host);
    let connector =
        Connector::new(SshOptions::new(Arc::new(NoPrompt), 1), Some(place.join("state")))
            .with_stand(&machine, move || Connected::here(Arc::clone(&endpoint)));
    let destination = place.join("inside/destination");
    std::fs::create_dir_all(&destination).unwrap();
    let transfer = Transfer {
        sources: vec![Location { machine, path: b"/tree/".to_vec() }],
        destination: Location {
            machine: Machine::Local,
            path: destination.to_str().unwrap().as_bytes().to_vec(),
        },
        options: TransferOptions::default(),
        plan_only: false,
    };
    let observer = Arc::new(|_: &Event| {});
    let running = run(transfer, connector, observer, CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap()
}

fn listed(place: &Path) -> Vec<String> {
    let names = std::fs::read_dir(place).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_server_of_another_make_is_understood() {
    let place = tempfile::tempdir().unwrap();
    let summary = pull(vec![".", "..", "one", "two"], place.path()).await;
    assert_eq!(summary.class, ExitClass::Done, "{:?}", summary.problems);
    assert_eq!(listed(&place.path().join("inside/destination")), ["one", "two"]);
    let one = std::fs::read(place.path().join("inside/destination/one")).unwrap();
    assert_eq!(one, b"evil");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_elsewhere_are_16_and_make_nothing() {
    for hostile in ["../escaped", "a/b", "/etc/escaped", "", "nul\0nul", "/"] {
        let place = tempfile::tempdir().unwrap();
        let summary = pull(vec!["one", hostile, "two"], place.path()).await;
        assert_eq!(summary.class, ExitClass::Unsafe, "{hostile:?}: {:?}", summary.problems);
        assert_eq!(listed(&place.path().join("inside/destination")), ["one", "two"]);
        assert_eq!(listed(&place.path().join("inside")), ["destination"]);
    }
}

/// What a server answers to the request of a number
type Answer = fn(u32) -> Vec<u8>;

/// Greets properly, then answers the first request with these bytes
async fn scripted(answer: Answer) -> EndpointError {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let server = tokio::spawn(async move {
        let mut hello = [0; 9];
        far.read_exact(&mut hello).await.unwrap();
        far.write_all(&[0, 0, 0, 5, 2, 0, 0, 0, 3]).await.unwrap();
        let length = far.read_u32().await.unwrap();
        let mut request = vec![0; length as usize];
        far.read_exact(&mut request).await.unwrap();
        let id = u32::from_be_bytes([request[1], request[2], request[3], request[4]]);
        let answer = answer(id);
        far.write_all(&answer).await.unwrap();
        // An answer that is none is the end of the stream.
        (!answer.is_empty()).then_some(far)
    });
    let endpoint = SftpEndpoint::open(stream(near), SftpOptions::default()).await.unwrap();
    let located = endpoint.locate(Locate { path: b"/".to_vec(), expand: false }).await;
    drop(server.await.unwrap());
    located.unwrap_err()
}

fn packet(kind: u8, id: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len() + 5).unwrap();
    [&length.to_be_bytes()[..], &[kind], &id.to_be_bytes(), rest].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_are_none_end_the_session() {
    let broken = EndpointError::Protocol;
    let cases: [(Answer, EndpointError); 7] = [
        // A length beyond all limits must not be allocated.
        (|_| vec![0xff, 0xff, 0xff, 0xff, 105], broken(ProtocolReason::Limit)),
        (|id| packet(105, id + 1, &[0; 4]), broken(ProtocolReason::Mismatched)),
        (|id| packet(103, id, &[0, 0, 0, 1, 7]), broken(ProtocolReason::Mismatched)),
        (|id| packet(77, id, &[]), broken(ProtocolReason::BadFrame)),
        // More names than the packet could hold
        (|id| packet(104, id, &[0xff, 0xff, 0xff, 0xff]), broken(ProtocolReason::BadFrame)),
        (|id| packet(105, id, &[0, 0, 0, 1, 0]), broken(ProtocolReason::BadFrame)),
        (|_| Vec::new(), EndpointError::Lost(LostReason::Ended)),
    ];
    for (answer, expected) in cases {
        assert_eq!(scripted(answer).await, expected, "{:?}", answer(7));
    }
}
