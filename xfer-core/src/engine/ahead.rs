//! What will be asked of a far machine first, so that it is said as its agent is started.

use xfer_protocol::codec::encode;
use xfer_protocol::message::{
    Access, Begin, Locate, Located, LocatedKind, Message, OnlyIf, OpenRoot, Request, RequestId,
    Root,
};

use super::Transfer;
use super::batch::{Most, batches};
use super::in_step::lists_of;
use crate::location::above;
use crate::options::RouteChoice;
use crate::plan::mapping::{Mapping, map_sources};

/// Bytes of a guess at most: what is said ahead has to fit a command, with what else is asked.
const GUESS_BYTES_MAX: usize = 1024;

/// Entries locked in one request; a sink takes no more of them one by one.
pub(super) const LOCKED: Most = Most::entries(256);

/// What stands there and where it leads, which makes nothing; and where the destination is guessed,
/// how the writing below it begins.
pub(super) fn ahead(path: &[u8], expand: bool, guess: Option<&Begin>) -> Vec<Request> {
    let open = |path: &[u8]| OpenRoot { path: path.to_vec(), access: Access::Read };
    let places = std::iter::once(path).chain(above(path)).map(open).map(Request::OpenRoot);
    let locate = Request::Locate(Locate { path: path.to_vec(), expand });
    let begin = guess.cloned().map(Request::Begin);
    std::iter::once(locate).chain(begin).chain(places).collect()
}

/// How the writing below the root of all mappings begins, where one request says it all.
pub(super) fn beginning(transfer: &Transfer, mappings: &[Mapping]) -> Option<Begin> {
    let first = mappings.first()?;
    let mut locked = batches(mappings.iter().map(|m| m.top.clone()), LOCKED);
    let entries = locked.pop().filter(|_| locked.is_empty())?;
    let open = OpenRoot { path: first.destination_root.clone(), access: Access::WriteCreate };
    let lists = lists_of(first, &transfer.options);
    Some(Begin { open, entries, lists, only_if: None })
}

/// The same while nothing is known of the destination, to be done only if nothing there would have
/// the sources mapped otherwise, and nothing could have the transfer refused: it lies on another
/// machine than `source`. `None` where that does not suffice.
pub(super) fn guess(
    transfer: &Transfer,
    rows: &[(usize, Located)],
    source: &Root,
) -> Option<Begin> {
    // Any other route may be found missing, which is a refusal too.
    let is_sure = matches!(transfer.options.network.route, RouteChoice::Auto | RouteChoice::Ssh);
    if transfer.plan_only || !is_sure {
        return None;
    }
    let path = &transfer.destination.path;
    let mapped = |kind| map_sources(rows, &Located { path: path.clone(), kind }).ok();
    let mappings = mapped(None)?;
    let kinds = [LocatedKind::Directory, LocatedKind::DirectoryLink, LocatedKind::Other];
    let kinds = std::iter::once(None).chain(kinds.map(Some));
    let kinds = kinds.filter(|kind| mapped(*kind).as_ref() == Some(&mappings)).collect();
    let only_if = OnlyIf { path: path.clone(), kinds, elsewhere_than: source.machine };
    let guess = Begin { only_if: Some(only_if), ..beginning(transfer, &mappings)? };
    let said = Message::Request(RequestId(u64::MAX), Request::Begin(guess.clone()));
    let is_short = encode(&said, 0).is_ok_and(|frame| frame.len() <= GUESS_BYTES_MAX);
    is_short.then_some(guess)
}

#[cfg(test)]
mod tests {
    use xfer_protocol::message::{RootIndex, Space};

    use super::*;
    use crate::location::Location;

    fn guessed(source: &str, kind: LocatedKind, to: &str) -> Option<Begin> {
        let at = |text: &str| Location::parse(text.as_bytes()).unwrap();
        let transfer = Transfer::new([at(source)], at(&format!("host:{to}")));
        guess(&transfer, &[(0, located(source, kind))], &root())
    }

    fn located(path: &str, kind: LocatedKind) -> Located {
        Located { path: path.into(), kind: Some(kind) }
    }

    fn root() -> Root {
        let space = Space { bytes_free: 1, inodes_free: None, volatile: false };
        let (path, machine) = (b"/".to_vec(), [7; 16]);
        Root { index: RootIndex(0), path, device: 1, inode: 2, machine, space }
    }

    #[test]
    fn a_guess_holds_for_all_that_is_mapped_alike() {
        use LocatedKind::{Directory, DirectoryLink, Other};
        let directories = vec![None, Some(Directory), Some(DirectoryLink)];
        for (source, kind, to, kinds, open) in [
            ("tree", Directory, "/far", directories.clone(), "/far"),
            ("file", Other, "/far/", directories, "/far/"),
            ("file", Other, "/far", vec![None, Some(Other)], "/"),
        ] {
            let guess = guessed(source, kind, to).unwrap();
            let only_if = guess.only_if.unwrap();
            assert_eq!((only_if.kinds, only_if.path), (kinds, to.into()), "{source} -> {to}");
            assert_eq!(only_if.elsewhere_than, [7; 16]);
            assert_eq!(guess.open.path, open.as_bytes(), "{source} -> {to}");
        }
    }

    #[test]
    fn nothing_is_guessed_where_a_refusal_may_follow() {
        let at = |text: &str| Location::parse(text.as_bytes()).unwrap();
        let rows = [(0, located("tree", LocatedKind::Directory))];
        let plain = Transfer::new([at("tree")], at("host:/far"));
        assert!(guess(&plain, &rows, &root()).is_some());
        let plan = Transfer { plan_only: true, ..plain.clone() };
        assert_eq!(guess(&plan, &rows, &root()), None);
        for route in [RouteChoice::Quic, RouteChoice::Tls, RouteChoice::Sftp] {
            let mut other = plain.clone();
            other.options.network.route = route;
            assert_eq!(guess(&other, &rows, &root()), None);
        }
        let long = Transfer::new([at("tree")], at(&format!("host:/{}", "x/".repeat(600))));
        assert_eq!(guess(&long, &rows, &root()), None);
    }
}
