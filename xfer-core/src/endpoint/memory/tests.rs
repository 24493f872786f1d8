//! The contract over both profiles, and the troubles that other tests rely on.

use xfer_protocol::fault::FaultKind;
use xfer_protocol::message::Access;

use super::*;
use crate::endpoint::conformance::{self, Fixture};

struct Place(MemoryStore);

#[async_trait]
impl Fixture for Place {
    type Side = MemoryEndpoint;

    async fn open(&self) -> MemoryEndpoint {
        self.0.open()
    }

    fn base(&self) -> Vec<u8> {
        b"/some/where".to_vec()
    }
}

fn place(profile: Profile) -> Place {
    let store = MemoryStore::new(profile);
    if profile == Profile::Disk {
        assert!(guard(&store.tree).make_directories(&RelPath::new("some/where").unwrap()));
    }
    Place(store)
}

#[tokio::test]
async fn a_disk_in_memory_keeps_the_contract() {
    conformance::all(async || place(Profile::Disk)).await;
}

#[tokio::test]
async fn a_store_of_parts_keeps_the_contract() {
    conformance::all(async || place(Profile::Parts)).await;
}

#[tokio::test]
async fn troubles_come_when_they_were_ordered() {
    let store = MemoryStore::new(Profile::Disk);
    let side = store.open();
    let locate = || Locate { path: b"/".to_vec(), expand: false };
    side.order(Method::Locate, 1, 2, Trouble::Fail(FaultKind::Io));
    side.order(Method::Locate, 0, 1, Trouble::LoseRequest);
    let mut results = Vec::new();
    for _ in 0..5 {
        results.push(side.locate(locate()).await);
    }
    let io = Fault::new(FaultKind::Io, Operation::Stat, RelPath::root());
    let lost = EndpointError::Lost(LostReason::Ended);
    assert!(results[0].is_ok() && results[4].is_ok());
    assert_eq!(results[1], Err(io.clone().into()));
    assert_eq!(results[2], Err(io.into()));
    assert_eq!(results[3], Err(lost.clone()));
    assert_eq!((side.calls(Method::Locate), side.fired(Method::Locate)), (5, 3));

    side.order(Method::OpenRoot, 0, 1, Trouble::LoseReply);
    let open = || OpenRoot { path: b"/made".to_vec(), access: Access::WriteCreate };
    assert_eq!(side.open_root(open()).await, Err(lost.clone()));
    assert!(store.entry(&RelPath::new("made").unwrap()).is_some());

    side.order(Method::Locate, 0, 1, Trouble::Stall);
    let (stalled, ()) = tokio::join!(biased; side.locate(locate()), async { side.end_troubles() });
    assert_eq!(stalled, Err(lost));
    assert!(side.locate(locate()).await.is_ok());
}
