//! A server of HTTP on this machine that says what a test has it say.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use xfer_protocol::manifest::Timestamp;

use super::super::WebOptions;
use crate::clock::Clock;
use crate::transport::web::Web;

/// Time that passes in pauses alone.
#[derive(Default)]
pub(super) struct HandClock(Mutex<Duration>);

impl Clock for HandClock {
    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn pause(&self, time: Duration) -> BoxFuture<'static, ()> {
        *self.0.lock().unwrap() += time;
        Box::pin(std::future::ready(()))
    }
}

pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(HandClock::default())
}

pub(super) fn web() -> Web {
    Web::new(Duration::from_secs(10)).unwrap()
}

pub(super) fn options() -> WebOptions {
    WebOptions::default()
}

/// What was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The range that was asked for, its end not included.
    pub(super) fn range(&self) -> Option<(usize, usize)> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse().unwrap(), last.parse::<usize>().unwrap() + 1))
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// Bytes of the body after which the connection ends.
    pub(super) cut: Option<usize>,
    /// Tells no length; the connection's end is the body's.
    pub(super) endless: bool,
}

impl Said {
    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn body(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    pub(super) fn to(location: impl Into<String>) -> Self {
        Self::status(302).with("location", location)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A file as servers with ranges answer it.
    pub(super) fn ranged(asked: &Asked, whole: &[u8], etag: &str) -> Self {
        let is_meant = asked.header("if-range").is_none_or(|condition| condition == etag);
        let said = match asked.range().filter(|_| is_meant) {
            Some((start, end)) => {
                let end = end.min(whole.len());
                let range = format!("bytes {start}-{}/{}", end - 1, whole.len());
                Self { status: 206, ..Self::body(&whole[start..end]) }.with("content-range", range)
            }
            None => Self::body(whole),
        };
        said.with("etag", etag).with("accept-ranges", "bytes")
    }
}

type Answers = dyn Fn(&Asked) -> Said + Send + Sync;

/// The server; ends with its test.
pub(super) struct Stand {
    pub(super) origin: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Stand {
    pub(super) async fn new(answers: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let answers: Arc<Answers> = Arc::new(answers);
        let heard = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, heard) = (Arc::clone(&answers), Arc::clone(&heard));
                tokio::spawn(async move {
                    // A connection that its other end gave up.
                    let _ = serve(stream, &*answers, &heard).await;
                });
            }
        });
        Self { origin, asked, serving }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often a path was asked for by a method.
    pub(super) fn count(&self, method: &str, path: &str) -> usize {
        let asked = self.asked();
        asked.iter().filter(|asked| asked.method == method && asked.path == path).count()
    }
}

async fn serve(
    stream: TcpStream,
    answers: &Answers,
    heard: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut first = lines[0].split(' ').map(str::to_owned);
        let (method, path) = (first.next().unwrap(), first.next().unwrap());
        let header = |line: &String| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let headers = lines[1..].iter().map(header).collect();
        let asked = Asked { method, path, headers };
        heard.lock().unwrap().push(asked.clone());
        let said = answers(&asked);
        let mut head = format!("HTTP/1.1 {} Said\r\n", said.status);
        for (name, value) in &said.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !said.endless {
            head.push_str(&format!("content-length: {}\r\n", said.body.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        if asked.method != "HEAD" {
            let length = said.cut.unwrap_or(said.body.len());
            stream.write_all(&said.body[..length]).await?;
        }
        stream.flush().await?;
        if said.cut.is_some() || said.endless {
            return stream.shutdown().await;
        }
    }
}
