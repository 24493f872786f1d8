//! moto: what AWS answers, by those who mock it
//!
//! It lists parts and uploads, keeps versions and puts checksums together; it checks neither
//! signatures nor checksums, and no presigned address is ever too old for it.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Access, programs};
use crate::xfer::Running;

/// The store, which answers until it is dropped
#[derive(Debug)]
pub struct Moto {
    access: Access,
    _running: Running,
}

impl Default for Moto {
    fn default() -> Self {
        Self::start()
    }
}

impl Moto {
    /// With one bucket that is empty
    pub fn start() -> Self {
        let (running, port) = Self::listening(&[], "Running on http://127.0.0.1:");
        let access = Access::on(port);
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        let bucket = &access.bucket;
        let request = format!(
            "PUT /{bucket} HTTP/1.1\r\nhost: s3.amazonaws.com\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential={}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n",
            access.key,
        );
        stream.write_all(request.as_bytes()).expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Self { access, _running: running }
    }

    /// Over TLS, with a certificate that nobody believes, and no bucket
    pub fn start_unbelieved() -> Self {
        let (running, port) = Self::listening(&["-s"], "Running on https://127.0.0.1:");
        let access = Access { endpoint: format!("https://127.0.0.1:{port}"), ..Access::on(port) };
        Self { access, _running: running }
    }

    fn listening(more: &[&str], before: &str) -> (Running, u16) {
        let mut command = programs::command(&programs::from_pypi("moto_server"));
        command.args(more).args(["-H", "127.0.0.1", "-p", "0"]).env("PYTHONUNBUFFERED", "1");
        programs::listening(&command, before)
    }

    /// How it is spoken to
    pub fn access(&self) -> &Access {
        &self.access
    }
}

#[cfg(test)]
mod tests {
    use super::super::judges;
    use super::*;

    #[test]
    fn a_bucket_is_there_and_judges_agree_about_it() {
        let (store, directory) = (Moto::start(), tempfile::tempdir().expect("temp dir"));
        std::fs::write(directory.path().join("file"), b"content").expect("write");
        let place = format!("{}/", store.access().location("a"));
        let from = format!("{}/*", directory.path().display());
        judges::said(&mut judges::s5cmd(store.access()), ["cp", &from, &place]);
        assert_eq!(judges::listed(store.access(), "a/"), [(String::from("a/file"), 7)]);
        judges::check(store.access(), directory.path(), "a");
        assert_eq!(judges::uploads(store.access()), 0);
    }
}
