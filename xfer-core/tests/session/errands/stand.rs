//! Something that answers requests of HTTP on this machine, as a test wishes.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }
}

/// What is answered.
#[derive(Clone, Default)]
pub struct Said {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// A length that is announced in place of the body's.
    pub announced: Option<usize>,
    /// Nothing is answered at all.
    pub is_silent: bool,
}

impl Said {
    pub fn body(status: u16, body: &[u8]) -> Self {
        Self { status, body: body.to_vec(), ..Self::default() }
    }
}

type Answers = dyn Fn(&Asked) -> Said + Send + Sync;

pub struct Stand {
    pub origin: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// One for each request that came.
    came: Arc<Semaphore>,
    serving: JoinHandle<()>,
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Stand {
    pub async fn new(answers: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (asked, came) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(Semaphore::new(0)));
        let answers: Arc<Answers> = Arc::new(answers);
        let (heard, counted) = (Arc::clone(&asked), Arc::clone(&came));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, heard) = (Arc::clone(&answers), Arc::clone(&heard));
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    // A connection that its other end gave up.
                    let _ended = serve(stream, &*answers, &heard, &counted).await;
                });
            }
        });
        Self { origin, asked, came, serving }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until so many more requests came.
    pub async fn came(&self, count: u32) {
        self.came.acquire_many(count).await.unwrap().forget();
    }
}

async fn serve(
    stream: TcpStream,
    answers: &Answers,
    heard: &Mutex<Vec<Asked>>,
    came: &Semaphore,
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
        let headers: Vec<_> = lines[1..].iter().map(header).collect();
        let mut asked = Asked { method, path, headers, body: Vec::new() };
        let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
        asked.body.resize(length, 0);
        stream.read_exact(&mut asked.body).await?;
        heard.lock().unwrap().push(asked.clone());
        came.add_permits(1);
        let said = answers(&asked);
        if said.is_silent {
            std::future::pending::<()>().await;
        }
        let length = said.announced.unwrap_or(said.body.len());
        let mut head = format!("HTTP/1.1 {} Said\r\ncontent-length: {length}\r\n", said.status);
        for (name, value) in &said.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&said.body).await?;
        stream.flush().await?;
        if said.announced.is_some() {
            return Ok(());
        }
    }
}
