//! Whole transfers to an endpoint whose every answer is lost once: each call comes twice

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use tempfile::TempDir;
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use xfer_core::connect::{Connected, Connector};
use xfer_core::disk::state::StateDirectory;
use xfer_core::endpoint::local::{LocalEndpoint, LocalOptions};
use xfer_core::endpoint::sftp::{SftpEndpoint, SftpOptions};
use xfer_core::endpoint::{Capabilities, Endpoint, EndpointResult, Sink, Source};
use xfer_core::engine::{Summary, Transfer, run};
use xfer_core::error::ExitClass;
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::options::{TransferOptions, VerifyLevel};
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::Fault;
use xfer_protocol::message::{
    Commit, Create, Digests, FileAt, FileRead, FilesAt, Finish, HashBlocks, HashFiles, Keep,
    Locate, Located, Lock, OpenPartial, OpenRoot, Outcome, Partial, PartialIndex, Paths, Publish,
    ReadBlock, Root, RootIndex, Scan, ScanBatch, ScanIndex, ScanNext, SetMetadata, Space,
    WriteBlock, WritePack,
};
use xfer_protocol::range::ByteRange;
use xfer_tests::sshd::Sshd;
use xfer_tests::{oracle, tree};

use crate::contract::login;

/// Serves every call that changes something twice, and tells what came of the second
struct Twice<E> {
    inner: E,
    /// Both at a time, as where the first is still being served when it comes again
    together: bool,
}

macro_rules! twice {
    ($($name:ident($asked:ty $(, $payload:ty)?) -> $answer:ty;)*) => {
        #[async_trait]
        impl<E: Source + Sink> Sink for Twice<E> {
            $(async fn $name(&self, asked: $asked $(, payload: $payload)?)
                -> EndpointResult<$answer>
            {
                let serve = || self.inner.$name(asked.clone() $(, <$payload>::clone(&payload))?);
                let (_lost, again) = match self.together {
                    true => tokio::join!(serve(), serve()),
                    false => (serve().await, serve().await),
                };
                again
            })*
        }
    };
}

twice! {
    lock(Lock) -> ();
    create(Create) -> Vec<Outcome>;
    open_partial(OpenPartial) -> Partial;
    keep(Keep) -> ();
    write_block(WriteBlock, Bytes) -> ();
    commit(Commit) -> ();
    discard(PartialIndex) -> ();
    write_pack(WritePack, Bytes) -> Vec<Outcome>;
    publish(Publish) -> Vec<Outcome>;
    set_metadata(SetMetadata) -> Vec<Outcome>;
    remove_partials(Paths) -> ();
    finish(Finish) -> ();
}

macro_rules! once {
    ($trait:ident: $($name:ident($($asked:ident: $kind:ty)?) -> $answer:ty;)* $(+ $rest:item)*) => {
        #[async_trait]
        impl<E: Source + Sink> $trait for Twice<E> {
            $($rest)*
            $(async fn $name(&self $(, $asked: $kind)?) -> $answer {
                self.inner.$name($($asked)?).await
            })*
        }
    };
}

once! { Endpoint:
    locate(asked: Locate) -> EndpointResult<Vec<Located>>;
    open_root(asked: OpenRoot) -> EndpointResult<Root>;
    scan(asked: Scan) -> EndpointResult<ScanIndex>;
    scan_next(asked: ScanNext) -> EndpointResult<ScanBatch>;
    data_ranges(asked: FileAt) -> EndpointResult<Vec<ByteRange>>;
    hash_blocks(asked: HashBlocks) -> EndpointResult<Digests>;
    hash_files(asked: HashFiles) -> EndpointResult<(Vec<Result<Digest, Fault>>, bool)>;
    space(asked: RootIndex) -> EndpointResult<Space>;
    close() -> ();
    + fn capabilities(&self) -> &Capabilities { self.inner.capabilities() }
}

once! { Source:
    read_block(asked: ReadBlock) -> EndpointResult<(Vec<Digest>, Bytes)>;
    read_pack(asked: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)>;
}

struct Lab(TempDir);

impl Lab {
    /// Directories, links, small files, and one that is cut into blocks
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let source = place.path().join("source");
        tree::small_files(&source, 400, 3);
        tree::big_file(&source.join("large"), 17 << 20, 4);
        tree::links(&source.join("links"));
        tree::empty(&source.join("empty"));
        Self(place)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    async fn push<E>(&self, endpoint: E, level: VerifyLevel, together: bool) -> Summary
    where
        E: Source + Sink + 'static,
    {
        let far = Machine::Ssh(SshHost { user: None, host: "far".into(), port: None });
        let endpoint = Arc::new(Twice { inner: endpoint, together });
        let ssh = SshOptions::new(Arc::new(NoPrompt), 42);
        let connector = Connector::new(ssh, Some(self.path("state")))
            .with_stand(&far, move || Connected::here(Arc::clone(&endpoint)));
        let at = |machine, path: &Path, end: &str| {
            let path = [path.as_os_str().as_bytes(), end.as_bytes()].concat();
            Location { machine, path }
        };
        let mut options = TransferOptions::default();
        options.verify.level = level;
        let transfer = Transfer {
            sources: vec![at(Machine::Local, &self.path("source"), "/")],
            destination: at(far, &self.path("destination"), ""),
            options,
            plan_only: false,
        };
        let quiet = Arc::new(|_: &xfer_core::event::Event| {});
        run(transfer, connector, quiet, CancellationToken::new()).await.unwrap()
    }
}

const LEVELS: [VerifyLevel; 3] =
    [VerifyLevel::Received, VerifyLevel::Durable, VerifyLevel::ReadBack];

fn assert_done(summary: &Summary, case: &str) {
    assert_eq!(summary.class, ExitClass::Done, "{case}: {:?}", summary.problems);
    assert_eq!(summary.entries.failed, 0, "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_to_a_directory_whose_answers_are_lost_is_done() {
    for level in LEVELS {
        for together in [false, true] {
            let lab = Lab::new();
            let endpoint = LocalEndpoint::new(LocalOptions::default());
            let summary = lab.push(endpoint, level, together).await;
            assert_done(&summary, &format!("{level:?}, together: {together}"));
            oracle::assert_equal(&lab.path("source"), &lab.path("destination"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_over_sftp_whose_answers_are_lost_is_done() {
    let server = Sshd::start("ForceCommand internal-sftp\nMaxSessions 100");
    let login = login(&server).await;
    for level in LEVELS {
        for together in [false, true] {
            let lab = Lab::new();
            let stream = login.subsystem("sftp").await.unwrap();
            let locks = StateDirectory::open(&lab.path("locks")).unwrap();
            let options = SftpOptions { locks: Some(locks), ..SftpOptions::default() };
            let endpoint = SftpEndpoint::open(stream, options).await.unwrap();
            let summary = lab.push(endpoint, level, together).await;
            assert_done(&summary, &format!("{level:?}, together: {together}"));
            let (source, destination) = (lab.path("source"), lab.path("destination"));
            oracle::assert_equal_by_seconds(&source, &destination, true);
        }
    }
}
