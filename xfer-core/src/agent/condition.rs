//! The condition of a `Begin` that is asked before anything is known of its place.

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::{Access, Locate, OnlyIf, OpenRoot};
use xfer_protocol::path::RelPath;

use crate::endpoint::{EndpointError, EndpointResult, Sink};
use crate::location::above;

/// A fault where a condition is not met; nothing is made by looking.
pub(super) async fn check<S: Sink>(sink: &S, only_if: &OnlyIf) -> EndpointResult<()> {
    let locate = Locate { path: only_if.path.clone(), expand: false };
    let kind = sink.locate(locate).await?.first().and_then(|located| located.kind);
    let machine = machine_of(sink, &only_if.path).await?;
    if only_if.kinds.contains(&kind) && machine.is_some_and(|m| m != only_if.elsewhere_than) {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Conflict, Operation::Open, RelPath::root()).into())
}

/// The machine that a path is of, as the nearest directory above it tells that can be opened.
async fn machine_of<S: Sink>(sink: &S, path: &[u8]) -> EndpointResult<Option<[u8; 16]>> {
    let mut there = path;
    loop {
        let open = OpenRoot { path: there.to_vec(), access: Access::Read };
        match sink.open_root(open).await {
            Ok(root) => return Ok(Some(root.machine)),
            Err(EndpointError::Fault(_)) => {}
            Err(error) => return Err(error),
        }
        there = match above(there) {
            Some(above) => above,
            // Where paths begin that are not absolute.
            None if there != b"." && !path.starts_with(b"/") => b".",
            None => return Ok(None),
        };
    }
}

#[cfg(test)]
mod tests {
    use xfer_protocol::message::LocatedKind;

    use super::*;
    use crate::endpoint::local::{LocalEndpoint, LocalOptions};
    use crate::endpoint::memory::{MemoryStore, Profile};

    #[tokio::test]
    async fn a_condition_is_met_by_one_of_its_kinds_on_another_machine() {
        let store = MemoryStore::new(Profile::Disk);
        store.put(&RelPath::new("in/file").unwrap(), vec![1]);
        store.set_machine([7; 16]);
        let (endpoint, before) = (store.open(), store.entries().len());
        let (directory, other) = (Some(LocatedKind::Directory), Some(LocatedKind::Other));
        for (path, kinds, machine, is_met) in [
            ("/in/no/where", vec![None, directory], 0, true),
            ("/in/no/where", vec![None, directory], 7, false),
            ("/in/no/where", vec![directory, other], 0, false),
            ("/in/file", vec![None, other], 0, true),
            ("/in/file", vec![None, directory], 0, false),
            ("/in", vec![None, directory], 0, true),
            ("/in", vec![], 0, false),
        ] {
            let only_if = OnlyIf { path: path.into(), kinds, elsewhere_than: [machine; 16] };
            let checked = check(&endpoint, &only_if).await;
            assert_eq!(checked.is_ok(), is_met, "{only_if:?}: {checked:?}");
        }
        assert_eq!(store.entries().len(), before);
    }

    #[tokio::test]
    async fn a_path_of_one_name_is_of_the_machine_on_which_it_begins() {
        let endpoint = LocalEndpoint::new(LocalOptions::default());
        let machine = machine_of(&endpoint, b"no such entry").await.unwrap();
        assert!(machine.is_some_and(|machine| machine != [0; 16]));
    }
}
