//! What endpoints share that ask a store or a server of others, where no agent of ours runs: what
//! keeps calls of one session apart, and transfers of one machine.

pub(super) mod claims;
pub(super) mod locking;
pub(super) mod pack;
pub(super) mod partials;
pub(super) mod walk;

use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, TryStreamExt};
use xfer_protocol::fault::Fault;

use super::{EndpointError, EndpointResult};

/// Does what is to be done for each of many entries, so many at a time; the results come in order,
/// and an error that ends the session ends the rest.
pub(super) async fn at_once<T: Send>(
    count: usize,
    each: Vec<BoxFuture<'_, EndpointResult<T>>>,
) -> EndpointResult<Vec<T>> {
    futures_util::stream::iter(each).buffered(count).try_collect().await
}

/// A failure at one entry; what ends the session comes back as an error.
pub(super) fn own<T>(result: EndpointResult<T>) -> EndpointResult<Result<T, Fault>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(EndpointError::Fault(fault)) => Ok(Err(fault)),
        Err(error) => Err(error),
    }
}

/// Locks what several calls share; a panic elsewhere left it whole, for no guard is held where one
/// could happen.
pub(super) fn guard<T>(shared: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
