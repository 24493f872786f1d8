//! A repository of a hub that speaks as Hugging Face's does: its commit, and the files of that.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use http::HeaderMap;
use http::header::LINK;
use serde::Deserialize;
use xfer_protocol::limits;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::path::RelPath;

use super::check::Proof;
use super::fetch::Fetcher;
use super::file::{Known, Pin, RemoteFile};
use super::moment;
use super::problem::WebProblem;
use super::tree::Tree;
use super::{HubKind, HubTree};
use crate::transport::address::Address;

/// Bytes of one answer; a page of a tree has a thousand files.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Pages of one tree, and files in all.
const PAGES_MAX: usize = 10_000;
const FILES_MAX: usize = 1_000_000;

/// A repository at one commit.
pub(super) struct Pinned {
    pub(super) commit: String,
    pub(super) tree: Tree,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
    #[serde(rename = "lastModified")]
    last_modified: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<Large>,
}

/// A file that git holds a pointer to.
#[derive(Deserialize)]
struct Large {
    oid: String,
    size: u64,
}

/// Asks which commit a revision is now, and what is in it.
pub(super) async fn read(fetcher: &Fetcher, hub: &HubTree) -> Result<Pinned, WebProblem> {
    let revision: Revision = json(
        &fetcher.document(&api(hub, "revision", &hub.revision, "")?, ANSWER_BYTES_MAX).await?.0,
    )?;
    if hex::<20>(&revision.sha).is_none() {
        return Err(nonsense("a commit that is none"));
    }
    let modified = revision.last_modified.as_deref().and_then(moment::of_hub);
    let reader = Reader { hub, commit: &revision.sha, modified: modified.unwrap_or_default() };
    let tree = reader.tree(fetcher).await?;
    Ok(Pinned { commit: revision.sha, tree })
}

struct Reader<'a> {
    hub: &'a HubTree,
    commit: &'a str,
    modified: Timestamp,
}

impl Reader<'_> {
    async fn tree(&self, fetcher: &Fetcher) -> Result<Tree, WebProblem> {
        let mut tree = Tree::default();
        let mut page = api(self.hub, "tree", self.commit, "?recursive=true")?;
        let mut seen = HashSet::new();
        while seen.len() < PAGES_MAX && seen.insert(page.secret().to_owned()) {
            let (body, headers) = fetcher.document(&page, ANSWER_BYTES_MAX).await?;
            let rows: Vec<Row> = json(&body)?;
            for row in rows.into_iter().filter(|row| row.kind == "file") {
                self.add(&mut tree, row)?;
            }
            match next(&headers, &page)? {
                Some(further) => page = further,
                None => return Ok(tree),
            }
        }
        Err(nonsense("pages without an end"))
    }

    fn add(&self, tree: &mut Tree, row: Row) -> Result<(), WebProblem> {
        let path = RelPath::new(row.path.as_bytes().to_vec());
        let path = path.ok().filter(|path| !path.is_root());
        let path = path.ok_or_else(|| nonsense("a path that is none"))?;
        let (size, proof) = match &row.lfs {
            Some(large) => (large.size, hex(&large.oid).map(Proof::Sha256)),
            None => (row.size, hex(&row.oid).map(Proof::Blob)),
        };
        let proof = proof.ok_or_else(|| nonsense("a file without a digest"))?;
        if size > limits::FILE_BYTES_MAX || tree.len() >= FILES_MAX {
            return Err(nonsense("more files, or a larger one, than a limit of ours"));
        }
        let address = address(self.hub, self.commit, &path)?;
        let known = Known {
            size: Some(size),
            modified: self.modified,
            pin: Pin::Content,
            has_ranges: true,
            proof: Some(proof),
        };
        let added = tree.add(Arc::new(RemoteFile::new(path, address, known)));
        added.map_err(|()| nonsense("two entries of one name"))
    }
}

fn nonsense(what: &str) -> WebProblem {
    WebProblem::Nonsense(what.to_owned())
}

fn json<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, WebProblem> {
    serde_json::from_slice(body).map_err(|error| WebProblem::Nonsense(error.to_string()))
}

/// Where a repository is asked about at one revision.
fn api(hub: &HubTree, what: &str, revision: &str, query: &str) -> Result<Address, WebProblem> {
    let kind = match hub.kind {
        HubKind::Model => "models",
        HubKind::Dataset => "datasets",
    };
    let (base, repository) = (base(hub), encoded(&hub.repository, true));
    let revision = encoded(revision, false);
    address_of(&format!("{base}/api/{kind}/{repository}/{what}/{revision}{query}"))
}

/// Where a file of one commit is read.
fn address(hub: &HubTree, commit: &str, path: &RelPath) -> Result<Address, WebProblem> {
    let kind = match hub.kind {
        HubKind::Model => "",
        HubKind::Dataset => "datasets/",
    };
    let (base, repository) = (base(hub), encoded(&hub.repository, true));
    let path = std::str::from_utf8(path.as_bytes()).map_err(|_| nonsense("a name in no coding"))?;
    let path = encoded(path, true);
    address_of(&format!("{base}/{kind}{repository}/resolve/{commit}/{path}"))
}

/// The hub's address, without a slash at its end.
fn base(hub: &HubTree) -> &str {
    hub.access.endpoint.secret().trim_end_matches('/')
}

fn address_of(text: &str) -> Result<Address, WebProblem> {
    Address::parse(text).ok_or(WebProblem::Unusable("the hub's address cannot be read"))
}

/// All but what no address needs to have encoded.
fn encoded(text: &str, with_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain || (byte == b'/' && with_slashes) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The next page, on the same host.
fn next(headers: &HeaderMap, page: &Address) -> Result<Option<Address>, WebProblem> {
    let links = headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
    let next = links.flat_map(|link| link.split(", <")).find_map(|link| {
        let (address, kind) = link.trim_start_matches('<').split_once('>')?;
        kind.contains("rel=\"next\"").then_some(address)
    });
    let Some(next) = next else { return Ok(None) };
    match page.leads_to(next).filter(|next| next.is_beside(page)) {
        Some(next) => Ok(Some(next)),
        None => Err(WebProblem::Astray("the next page is another host's")),
    }
}

/// So many bytes in hexadecimal, and nothing else.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_for_their_place() {
        assert_eq!(encoded("a b/ü?#%.bin", true), "a%20b/%C3%BC%3F%23%25.bin");
        assert_eq!(encoded("refs/pr/1", false), "refs%2Fpr%2F1");
    }

    #[test]
    fn the_next_page_is_the_same_hosts() {
        let page = Address::parse("https://hub.org/api/x").unwrap();
        let further = |link: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().unwrap());
            next(&headers, &page).map(|next| next.map(|next| next.secret().to_owned()))
        };
        let there = Ok(Some("https://hub.org/api/x?cursor=b".to_owned()));
        assert_eq!(further("<https://hub.org/api/x?cursor=b>; rel=\"next\""), there);
        let both = "</a>; rel=\"prev\", </api/x?cursor=b>; rel=\"next\"";
        assert_eq!(further(both), there);
        assert_eq!(further("</a>; rel=\"last\""), Ok(None));
        assert!(further("<https://evil.org/api>; rel=\"next\"").is_err());
        assert!(further("<http://hub.org/api>; rel=\"next\"").is_err());
    }

    #[test]
    fn a_digest_has_its_length() {
        assert_eq!(hex::<2>("0aFf"), Some([10, 255]));
        for bad in ["", "0af", "0aff0", "0agf", "+1+2"] {
            assert_eq!(hex::<2>(bad), None, "{bad}");
        }
    }
}
