//! Troubles that tests order: which calls fail, and how.

use std::collections::HashMap;
use std::sync::Mutex;

use xfer_protocol::fault::FaultKind;

/// The calls of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum Method {
    Commit,
    Create,
    DataRanges,
    Discard,
    Finish,
    HashBlocks,
    HashFiles,
    Keep,
    Locate,
    Lock,
    OpenPartial,
    OpenRoot,
    Publish,
    ReadBlock,
    ReadPack,
    Remove,
    RemovePartials,
    Rename,
    Scan,
    ScanNext,
    SetMetadata,
    Space,
    WriteBlock,
    WritePack,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is served, and a bit of the bytes that it brings is wrong, or the first of the digests.
    Corrupt,
    /// It fails and changes nothing.
    Fail(FaultKind),
    /// Its stream ends before it is served.
    LoseRequest,
    /// It is served, but its stream ends before the answer.
    LoseReply,
    /// It is never answered, until the endpoint is closed or troubles are over.
    Stall,
}

#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<HashMap<Method, Ordered>>);

#[derive(Debug, Default)]
struct Ordered {
    /// Calls that pass, calls that then meet the trouble, and which it is; in order.
    next: Vec<(u64, u64, Trouble)>,
    calls: u64,
    fired: u64,
}

impl Troubles {
    pub(super) fn order(&self, method: Method, after: u64, times: u64, trouble: Trouble) {
        self.with(method, |ordered| ordered.next.push((after, times.max(1), trouble)));
    }

    pub(super) fn calls(&self, method: Method) -> u64 {
        self.with(method, |ordered| ordered.calls)
    }

    pub(super) fn fired(&self, method: Method) -> u64 {
        self.with(method, |ordered| ordered.fired)
    }

    pub(super) fn clear(&self) {
        super::guard(&self.0).values_mut().for_each(|ordered| ordered.next.clear());
    }

    /// Counts a call and says what happens to it.
    pub(super) fn meet(&self, method: Method) -> Option<Trouble> {
        self.with(method, |ordered| {
            ordered.calls += 1;
            let (after, times, trouble) = ordered.next.first_mut()?;
            if *after > 0 {
                *after -= 1;
                return None;
            }
            let met = *trouble;
            *times -= 1;
            if *times == 0 {
                ordered.next.remove(0);
            }
            ordered.fired += 1;
            Some(met)
        })
    }

    fn with<T>(&self, method: Method, act: impl FnOnce(&mut Ordered) -> T) -> T {
        act(super::guard(&self.0).entry(method).or_default())
    }
}
