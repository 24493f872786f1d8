//! A web server over TLS, which tells who asks for what

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use xfer_tests::net::Host;
use xfer_tests::xfer::Running;

/// Serves one file by ranges; `/moved` leads to it by an address that is signed
const SERVER: &str = r#"
import http.server, ssl, sys
address, certificate, key, path = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_HEAD(self): self.answer(False)
    def do_GET(self): self.answer(True)
    def log_message(self, *_): pass
    def answer(self, body):
        print("asked", self.client_address[0], self.path, self.headers.get("Range"), flush=True)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/file?X-Amz-Expires=60&X-Amz-Signature=abc")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        with open(path, "rb") as file:
            size, asked = file.seek(0, 2), self.headers.get("Range")
            first, last = 0, size - 1
            if asked:
                first, last = map(int, asked.removeprefix("bytes=").split("-"))
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", '"v1"')
            self.send_header("Content-Length", str(last - first + 1))
            self.end_headers()
            if body:
                file.seek(first)
                self.wfile.write(file.read(last - first + 1))
server = http.server.ThreadingHTTPServer((address, 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("port", server.server_address[1], flush=True)
server.serve_forever()
"#;

/// A certificate for an address, and who vouches for it
#[derive(Debug)]
pub(crate) struct Certificate {
    directory: TempDir,
}

impl Certificate {
    pub(crate) fn of(address: &str) -> Self {
        let directory = tempfile::tempdir().expect("temp dir");
        let made = Self { directory };
        let (name, there) = (format!("subjectAltName=IP:{address}"), made.directory.path());
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let ca = ["-subj", "/CN=a test", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem"];
        openssl(there, &[&["req", "-x509"][..], &key, &ca].concat());
        let leaf = ["-subj", "/CN=a leaf", "-days", "2", "-keyout", "key.pem", "-out", "leaf.pem"];
        let by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=CA:FALSE"];
        openssl(there, &[&["req", "-x509"][..], &key, &leaf, &by, &["-addext", &name]].concat());
        made
    }

    /// Who vouches for it
    pub(crate) fn vouching(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output();
    let output = output.expect("openssl is missing: apt-get install openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The server, which answers until it is dropped
#[derive(Debug)]
pub(crate) struct Https {
    running: Running,
    port: u64,
}

impl Https {
    pub(crate) fn start(
        host: &Host,
        address: &str,
        certificate: &Certificate,
        file: &Path,
    ) -> Self {
        let there = certificate.directory.path();
        let mut command = Command::new("python3");
        command.args(["-c", SERVER, address]).stdin(Stdio::null());
        command.arg(there.join("leaf.pem")).arg(there.join("key.pem")).arg(file);
        let running = host.within(|| Running::start(command));
        let line = running.next_line(|line| line.starts_with("port ")).expect("a port");
        let port = line.rsplit(' ').next().and_then(|port| port.parse().ok()).expect("a port");
        Self { running, port }
    }

    pub(crate) fn port(&self) -> u64 {
        self.port
    }

    /// Who asked for what, to the end
    pub(crate) fn asked(self) -> Vec<String> {
        self.running.signal("TERM");
        let stdout = self.running.wait().stdout;
        stdout.lines().filter_map(|line| line.strip_prefix("asked ")).map(str::to_owned).collect()
    }
}
