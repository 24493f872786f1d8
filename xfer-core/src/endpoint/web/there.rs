//! Public files that another machine reads by its own link: where they are is found out here, and
//! nothing is given away that is good for longer or for more than that one file.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{StreamExt, TryStreamExt};
use http::{HeaderMap, Method};
use xfer_protocol::digest::{Digest, file_digest, spans};
use xfer_protocol::fault::Operation;
use xfer_protocol::message::{FileRead, FilesAt, ReadBlock, ReadFile};
use xfer_protocol::range::ByteRange;

use super::fetch::{Fetcher, plain, refusal};
use super::file::RemoteFile;
use super::problem::WebProblem;
use super::reading::{check_block, check_pack, own};
use super::{WebEndpoint, guard};
use crate::endpoint::errands::{Kept, Porter, Unserved};
use crate::endpoint::{EndpointError, EndpointResult, ProtocolReason};
use crate::transport::address::Address;
use crate::transport::web::WebRequest;

/// Files of one call that are asked for at a time.
const AT_ONCE: usize = 16;

/// Queries that hold a signature name its end as well; what has no end may be anybody's key.
const SIGNED: [(&str, &str); 4] = [
    ("x-amz-signature", "x-amz-expires"),
    ("x-goog-signature", "x-goog-expires"),
    ("signature", "expires"),
    ("sig", "se"),
];

/// Where another machine may read a file, once that is known.
#[derive(Default)]
pub(super) struct Given(Mutex<Option<Option<Address>>>);

/// What became of a reading by another machine.
type There<T> = Result<T, Unread>;

enum Unread {
    Machine(EndpointError),
    Web(WebProblem),
}

impl From<WebProblem> for Unread {
    fn from(problem: WebProblem) -> Self {
        Self::Web(problem)
    }
}

impl RemoteFile {
    /// Where another machine may read it; `None` where that would take a key of ours, or where its
    /// bytes have to be looked at here.
    async fn given(&self, fetcher: &Fetcher) -> Result<Option<Address>, WebProblem> {
        if self.is_proven() || !self.has_ranges() {
            return Ok(None);
        }
        if let Some(known) = guard(&self.given.0).clone() {
            return Ok(known);
        }
        let first = ByteRange::whole(1).ok_or(WebProblem::Unusable("no first byte"))?;
        let found = fetcher.fetch(&Method::GET, &self.address, &self.asking(first)?).await?;
        self.check_part(found.answer.status, &found.answer.headers, first)?;
        let given = (!found.with_key && may_be_given(&found.at)).then_some(found.at);
        *guard(&self.given.0) = Some(given.clone());
        Ok(given)
    }

    async fn range_there(
        &self,
        fetcher: &Fetcher,
        range: ByteRange,
        porter: &Arc<Porter>,
    ) -> There<Option<(Vec<Digest>, Arc<Kept>)>> {
        let mut tries = fetcher.tries();
        let mut is_renewed = false;
        loop {
            let slot = fetcher.slot().await;
            let tried = self.once_there(fetcher, range, porter).await;
            drop(slot);
            match tried {
                Ok(read) => return Ok(read),
                // What it was signed with may be over.
                Err(Unread::Web(WebProblem::Refused(_) | WebProblem::Missing)) if !is_renewed => {
                    is_renewed = true;
                    *guard(&self.given.0) = None;
                }
                Err(Unread::Web(problem)) => tries.after(problem).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn once_there(
        &self,
        fetcher: &Fetcher,
        range: ByteRange,
        porter: &Arc<Porter>,
    ) -> There<Option<(Vec<Digest>, Arc<Kept>)>> {
        let Some(address) = self.given(fetcher).await? else { return Ok(None) };
        let size = self.size.unwrap_or_default();
        let request = self.request_there(fetcher, &address, range)?;
        let (answered, digests, kept) = porter.fetch(request, range, size).await.map_err(unread)?;
        self.check_answer(answered.status, &answered.headers, range)?;
        match digests.len() == spans(range, size).count() {
            true => Ok(Some((digests, kept))),
            false => Err(Unread::Machine(MISMATCHED)),
        }
    }

    fn request_there(
        &self,
        fetcher: &Fetcher,
        address: &Address,
        range: ByteRange,
    ) -> Result<WebRequest, WebProblem> {
        let headers = fetcher.keyless(&self.asking(range)?);
        let address = address.secret().to_owned();
        Ok(WebRequest { method: Method::GET, address, headers, body: Bytes::new() })
    }

    fn check_answer(
        &self,
        status: u16,
        headers: &HeaderMap,
        range: ByteRange,
    ) -> Result<(), WebProblem> {
        match status {
            200..=299 => {
                plain(headers)?;
                self.check_part(status, headers, range)
            }
            300..=399 => Err(WebProblem::Missing),
            status => Err(refusal(status, headers)),
        }
    }
}

impl WebEndpoint {
    /// Has another machine ask for the first byte of the one file that this is, to see whether it
    /// reaches it; `false` where nothing of this may be read from elsewhere.
    ///
    /// # Errors
    /// Why it is not reached from there, in words.
    pub async fn try_from_there(&self, porter: &Arc<Porter>) -> Result<bool, String> {
        let shared = &self.shared;
        let tree = shared.tree();
        let file = shared.file.as_ref().and_then(|(_, path)| tree.file(path));
        let Some(file) = file.filter(|file| file.size.is_some_and(|size| size > 0)) else {
            return Ok(false);
        };
        let tried = async {
            let Some(address) = file.given(&shared.fetcher).await? else { return Ok(false) };
            let first = ByteRange::whole(1).ok_or(WebProblem::Unusable("no first byte"))?;
            let request = file.request_there(&shared.fetcher, &address, first)?;
            let answered = porter.ask(request, Vec::new()).await.map_err(unread)?;
            file.check_answer(answered.status, &answered.headers, first)?;
            Ok(true)
        };
        tried.await.map_err(|error: Unread| match error {
            Unread::Machine(error) => error.to_string(),
            Unread::Web(problem) => problem.to_string(),
        })
    }

    /// As [`Source::read_block`](crate::endpoint::Source::read_block), the bytes kept by another
    /// machine; `None` where they have to be read here.
    pub async fn read_block_there(
        &self,
        read: &ReadBlock,
        porter: &Arc<Porter>,
    ) -> EndpointResult<Option<(Vec<Digest>, Arc<Kept>)>> {
        check_block(read)?;
        let (shared, at) = (&self.shared, &read.file);
        let file = shared.at(at.root, &at.path, &at.stamp, Operation::Read)?;
        let read = self.call(async {
            let read = file.range_there(&shared.fetcher, read.range, porter).await;
            read.map_err(|error| match error {
                Unread::Machine(error) => error,
                Unread::Web(problem) => shared.failed(&problem, &at.path, Operation::Read),
            })
        });
        read.await
    }

    /// As [`Source::read_pack`](crate::endpoint::Source::read_pack), each file that is not empty
    /// kept for itself by another machine; `None` where one of them has to be read here.
    pub async fn read_pack_there(
        &self,
        files: &FilesAt,
        porter: &Arc<Porter>,
    ) -> EndpointResult<Option<(Vec<FileRead>, Vec<Arc<Kept>>)>> {
        self.shared.base(files.root, Operation::Read)?;
        check_pack(files)?;
        let each: Vec<_> = files
            .files
            .iter()
            .map(|(path, stamp)| {
                async move {
                    let read = self.shared.at(files.root, path, stamp, Operation::Read);
                    let read = async {
                        let file = read?;
                        let Some(range) = ByteRange::whole(stamp.size) else {
                            let digest = file_digest(&[]);
                            return Ok(Some((ReadFile { size: 0, digest }, None)));
                        };
                        let read = file.range_there(&self.shared.fetcher, range, porter).await;
                        match read {
                            Ok(None) => Ok(None),
                            Ok(Some((digests, kept))) => {
                                let &[digest] = &digests[..] else { return Err(MISMATCHED) };
                                Ok(Some((ReadFile { size: stamp.size, digest }, Some(kept))))
                            }
                            Err(Unread::Machine(error)) => Err(error),
                            Err(Unread::Web(problem)) => {
                                Err(self.shared.failed(&problem, path, Operation::Read))
                            }
                        }
                    };
                    own(read.await)
                }
                .boxed()
            })
            .collect();
        let mut each = futures_util::stream::iter(each).buffered(AT_ONCE);
        let (mut reads, mut all) = (Vec::with_capacity(files.files.len()), Vec::new());
        while let Some(read) = self.call(each.try_next()).await? {
            match read {
                Ok(None) => return Ok(None),
                Ok(Some((read, kept))) => {
                    all.extend(kept);
                    reads.push(Ok(read));
                }
                Err(fault) => reads.push(Err(fault)),
            }
        }
        Ok(Some((reads, all)))
    }
}

const MISMATCHED: EndpointError = EndpointError::Protocol(ProtocolReason::Mismatched);

fn unread(error: Unserved) -> Unread {
    match error {
        Unserved::Machine(error) => Unread::Machine(error),
        Unserved::Unkept => Unread::Machine(MISMATCHED),
        Unserved::Web(error) => Unread::Web(error.into()),
    }
}

/// Whether an address may be told to a machine that is not trusted with keys: it has no query, or
/// one that is a signature with an end.
fn may_be_given(address: &Address) -> bool {
    let Some((_, query)) = address.secret().split_once('?') else { return true };
    let names: Vec<String> = query
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default().to_ascii_lowercase())
        .collect();
    let has = |name: &str| names.iter().any(|found| found == name);
    query.is_empty() || SIGNED.iter().any(|(signature, end)| has(signature) && has(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_given_away_that_holds_no_lasting_key() {
        let may = |text: &str| may_be_given(&Address::parse(text).unwrap());
        for text in [
            "https://h.org/f",
            "https://h.org/f?",
            "https://h.org/f?X-Amz-Expires=900&X-Amz-Signature=ab",
            "https://h.org/f?Expires=1&Signature=ab&Key-Pair-Id=K",
            "https://h.org/f?sv=1&se=2026&sig=ab",
        ] {
            assert!(may(text), "{text}");
        }
        for text in [
            "https://h.org/f?token=abc",
            "https://h.org/f?download=true",
            "https://h.org/f?sig=ab",
            "https://h.org/f?X-Amz-Signature=ab",
        ] {
            assert!(!may(text), "{text}");
        }
    }
}
