//! `s3s-fs` in the test's own process: a directory spoken to as S3
//!
//! It checks signatures, the checksums of objects sent whole, conditions of writes and parts too
//! small; of parts it checks no checksum, and `ListMultipartUploads` it does not know.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::s3s::access::{S3Access, S3AccessContext};
use ::s3s::auth::SimpleAuth;
use ::s3s::service::{S3Service, S3ServiceBuilder};
use ::s3s::{S3Result, s3_error};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};
use tokio::time::Instant;

use super::Access;
use super::paced::{Lane, Paced};
use crate::net::Host;

/// What a store does not do at once
#[derive(Clone, Copy, Debug, Default)]
pub struct Throttle {
    /// What each request waits before anything of it is done
    pub delay: Duration,
    /// Bytes a second either way, of all connections together
    pub rate: Option<u64>,
}

/// The store, which answers until it is dropped
#[derive(Debug)]
pub struct S3s {
    directory: TempDir,
    access: Access,
    runtime: Option<Runtime>,
}

impl Default for S3s {
    fn default() -> Self {
        Self::start()
    }
}

impl S3s {
    /// With one bucket that is empty
    pub fn start() -> Self {
        Self::start_in(&std::env::temp_dir(), 1, &Throttle::default())
    }

    /// The same with its directory in `place`, so many threads, and a throttle
    pub fn start_in(place: &Path, threads: usize, throttle: &Throttle) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, Access::on(0)), place, threads, throttle)
    }

    /// The same at an address of a host of the network laboratory, with another secret
    pub fn start_within(host: &Host, address: Ipv4Addr, secret: &str) -> Self {
        let access = Access { secret: secret.to_owned(), ..Access::on(0) };
        let (place, throttle) = (std::env::temp_dir(), Throttle::default());
        host.within(|| Self::at((address, access), &place, 1, &throttle))
    }

    fn at(
        (address, access): (Ipv4Addr, Access),
        place: &Path,
        threads: usize,
        throttle: &Throttle,
    ) -> Self {
        let directory = tempfile::Builder::new().prefix("s3s-").tempdir_in(place);
        let directory = directory.expect("temp dir");
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("s3s")
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((address, 0))).expect("bind");
        let port = listener.local_addr().expect("an address").port();
        let access = Access { endpoint: format!("http://{address}:{port}"), ..access };
        fs::create_dir(directory.path().join(&access.bucket)).expect("make the bucket");
        let files = FileSystem::new(directory.path()).expect("a directory to serve");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(access.key.as_str(), access.secret.as_str()));
        builder.set_access(Delay(throttle.delay));
        runtime.spawn(serve(listener, builder.build(), throttle.rate));
        Self { directory, access, runtime: Some(runtime) }
    }

    /// How it is spoken to
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The bucket's directory: the object `a/b` is the file `a/b` in it
    pub fn objects(&self) -> PathBuf {
        self.directory.path().join(&self.access.bucket)
    }

    /// What it keeps beside objects: their metadata, and the parts of unfinished uploads
    pub fn records(&self) -> &Path {
        self.directory.path()
    }

    /// The names of unfinished uploads' parts
    pub fn parts(&self) -> Vec<String> {
        let list = fs::read_dir(self.records()).expect("list the store's directory");
        let names = list.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.retain(|name| name.starts_with(".upload_id-"));
        names.sort_unstable();
        names
    }
}

impl Drop for S3s {
    fn drop(&mut self) {
        // Waits for nobody who is connected.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Lets everybody in who has the key, and has each request wait
#[derive(Debug)]
struct Delay(Duration);

#[async_trait::async_trait]
impl S3Access for Delay {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if !self.0.is_zero() {
            tokio::time::sleep_until(Instant::now() + self.0).await;
        }
        match context.credentials() {
            Some(_) => Ok(()),
            None => Err(s3_error!(AccessDenied, "Signature is required")),
        }
    }
}

async fn serve(listener: TcpListener, service: S3Service, rate: Option<u64>) {
    let lanes = [(); 2].map(|()| rate.map(Lane::new));
    while let Ok((stream, _)) = listener.accept().await {
        let (service, lanes) = (service.clone(), lanes.clone());
        // As stores have it: else each small answer waits for word of the one before.
        drop(stream.set_nodelay(true));
        tokio::spawn(async move {
            let connection = Builder::new(TokioExecutor::new()).http1_only();
            let paced = TokioIo::new(Paced::new(stream, lanes));
            drop(connection.serve_connection(paced, service).await);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::super::judges;
    use super::*;

    fn asked(store: &S3s, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", store.access().port())).expect("connect");
        let host =
            format!("host: 127.0.0.1:{}\r\nconnection: close\r\n\r\n", store.access().port());
        stream.write_all(format!("{request} HTTP/1.1\r\n{host}").as_bytes()).expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        answer
    }

    #[test]
    fn a_request_without_a_key_is_refused_and_changes_nothing() {
        let store = S3s::start();
        fs::write(store.objects().join("here"), b"what is kept").expect("write");
        let answer = asked(&store, "GET /bucket/here");
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(!answer.contains("what is kept"), "{answer}");
        assert!(asked(&store, "PUT /other").starts_with("HTTP/1.1 403 "));
        assert!(!store.records().join("other").exists());
        assert_eq!(store.parts(), Vec::<String>::new());
    }

    #[test]
    fn each_has_its_own_port_and_directory() {
        let (one, other) = (S3s::start(), S3s::start());
        assert_ne!(one.access(), other.access());
        assert_ne!(one.objects(), other.objects());
        let gone = one.objects();
        drop(one);
        assert!(!gone.exists());
    }

    #[test]
    fn judges_agree_about_what_lies_in_its_directory() {
        let store = S3s::start();
        fs::create_dir(store.objects().join("a")).expect("make a directory");
        fs::write(store.objects().join("a/file"), b"what is kept").expect("write");
        assert_eq!(judges::listed(store.access(), ""), [(String::from("a/file"), 12)]);
        judges::check(store.access(), &store.objects(), "");
        let same = tempfile::tempdir().expect("temp dir");
        fs::write(same.path().join("file"), b"what is lost").expect("write");
        let unequal = std::panic::catch_unwind(|| judges::check(store.access(), same.path(), "a"));
        assert!(unequal.is_err(), "rclone takes other bytes for the same");
    }
}
