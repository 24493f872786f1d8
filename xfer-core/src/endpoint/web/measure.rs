//! What a file is, before a byte of it is read.

use http::header::{LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, Method};
use xfer_protocol::manifest::Timestamp;

use super::fetch::Fetcher;
use super::file::{Known, Pin, content_range, length, pin};
use super::moment;
use super::problem::WebProblem;
use crate::transport::address::Address;

/// Asks for a file's head, and for its first byte where that tells too little.
pub(super) async fn measure(fetcher: &Fetcher, address: &Address) -> Result<Known, WebProblem> {
    let mut tries = fetcher.tries();
    loop {
        let slot = fetcher.slot().await;
        let tried = once(fetcher, address).await;
        drop(slot);
        match tried {
            Ok(known) => return Ok(known),
            Err(problem) => tries.after(problem).await?,
        }
    }
}

async fn once(fetcher: &Fetcher, address: &Address) -> Result<Known, WebProblem> {
    match fetcher.fetch(&Method::HEAD, address, &HeaderMap::new()).await {
        Ok(fetched) => {
            let headers = &fetched.answer.headers;
            let units = fetched.answer.header("accept-ranges").map(str::to_ascii_lowercase);
            let is_told = matches!(units.as_deref(), Some("bytes" | "none"));
            let known = known(headers, length(headers), units.as_deref() == Some("bytes"));
            match known.size {
                Some(size) if is_told || size == 0 => Ok(known),
                _ => first_byte(fetcher, address).await,
            }
        }
        // Signatures are often for reading alone, and so are some programs that answer.
        Err(WebProblem::Refused(_) | WebProblem::Status(_)) => first_byte(fetcher, address).await,
        Err(problem) => Err(problem),
    }
}

async fn first_byte(fetcher: &Fetcher, address: &Address) -> Result<Known, WebProblem> {
    let mut headers = HeaderMap::new();
    headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    let answer = fetcher.fetch(&Method::GET, address, &headers).await;
    let answer = match answer {
        // Of a file without bytes, there is no first one.
        Err(WebProblem::Changed) => {
            fetcher.fetch(&Method::GET, address, &HeaderMap::new()).await?.answer
        }
        answer => answer?.answer,
    };
    if answer.status != 206 {
        return Ok(known(&answer.headers, length(&answer.headers), false));
    }
    let told = answer.header("content-range").and_then(content_range);
    match told {
        Some((0, 0, size)) => Ok(known(&answer.headers, size, true)),
        _ => Err(WebProblem::Nonsense("another range than was asked for".to_owned())),
    }
}

fn known(headers: &HeaderMap, size: Option<u64>, has_ranges: bool) -> Known {
    let modified = headers.get(LAST_MODIFIED).and_then(|moment| moment.to_str().ok());
    let modified = modified.and_then(moment::of_http).unwrap_or_else(Timestamp::default);
    let pin = pin(headers);
    let has_ranges = has_ranges && pin != Pin::Nothing;
    let size = size.filter(|size| *size <= xfer_protocol::limits::FILE_BYTES_MAX);
    Known { size, modified, pin, has_ranges, proof: None }
}
