//! From bucket to bucket: by the store itself, where it is one, and by here where it is not.

use super::Connected;
use super::connected::Far;
use crate::endpoint::passage::Within;
use crate::options::{TransferOptions, Via};

/// How payload goes between two stores.
pub(crate) enum ByStore {
    /// These are no such two.
    Other,
    /// By here; why.
    Here(String),
    /// The store copies it.
    Open(Within),
}

impl Connected {
    /// How payload goes from these sources to `sink`.
    pub(crate) fn by_store(sources: &[Self], sink: &Self, options: &TransferOptions) -> ByStore {
        let Far::Store(_, to) = &sink.far else { return ByStore::Other };
        let stores = sources.iter().filter_map(|source| match &source.far {
            Far::Store(_, from) => Some((source, from)),
            _ => None,
        });
        let stores: Vec<_> = stores.collect();
        let Some((source, from)) = stores.first() else { return ByStore::Other };
        if options.network.via == Via::Here {
            return ByStore::Here("as --via here asks".to_owned());
        }
        if sources.len() > 1 {
            return ByStore::Here("as there is more than one source".to_owned());
        }
        match Within::new(from, to) {
            Some(within) => ByStore::Open(within),
            None => ByStore::Here(format!(
                "as {} makes no copies of what is in {} for us",
                sink.place, source.place
            )),
        }
    }
}
