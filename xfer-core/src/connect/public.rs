//! What can only be read: files of the web, and repositories of the hub.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::store_refusals::web_error;
use super::{Connected, Connector, Far};
use crate::endpoint::web::{
    HubAccess, HubKind as Holds, HubTree, WebEndpoint, WebFile, WebOptions, WebProblem,
    WebSourceError,
};
use crate::error::{ConfigReason, Failure, Remedy, TransferError};
use crate::event::Route;
use crate::location::{HubKind, HubRepository, WebPlace};
use crate::options::TransferOptions;
use crate::transport::address::Address;
use crate::transport::web::{Web, WebError};

/// Requests at a time where nobody says how many, and at most.
const STREAMS: usize = 16;
const STREAMS_MAX: usize = 64;

impl Connector {
    /// A file of a web server.
    ///
    /// # Errors
    /// A server that does not answer, refuses, or answers what cannot be used.
    pub(super) async fn web_file(
        &self,
        place: &WebPlace,
        options: &TransferOptions,
    ) -> Result<Connected, TransferError> {
        let name = place.to_string();
        let failed = |problem| web_error(WebSourceError { place: name.clone(), problem });
        let unusable = || failed(WebProblem::Unusable("that address cannot be asked for"));
        let address = Address::parse(place.address()).ok_or_else(unusable)?;
        let web = self.web(options).map_err(|error| failed(error.into()))?;
        let file = WebFile { address };
        let opened = WebEndpoint::file(web, &file, self.web_options(options), self.clock()).await;
        let transport = place.origin().split(':').next().unwrap_or_default().to_owned();
        Ok(reached(opened.map_err(web_error)?, place.to_string(), transport, options))
    }

    /// The files of a repository.
    ///
    /// # Errors
    /// No such repository, a key that is refused, or a hub that does not answer as one.
    pub(super) async fn hub(
        &self,
        repository: &HubRepository,
        options: &TransferOptions,
    ) -> Result<Connected, TransferError> {
        let place = repository.to_string();
        let access = HubAccess::of(|name| std::env::var(name).ok()).map_err(|error| {
            let next = "set HF_TOKEN to a token of yours, and HF_ENDPOINT to https://HOST or not \
                        at all";
            let failure = Failure::new(place.clone(), ConfigReason::Credentials);
            TransferError::Config(failure.because(error).next(Remedy::text(next)))
        })?;
        let kind = match repository.kind {
            HubKind::Model => Holds::Model,
            HubKind::Dataset => Holds::Dataset,
        };
        let transport = access.endpoint.secret().split(':').next().unwrap_or_default().to_owned();
        let (name, revision) = (repository.id.clone(), repository.revision.clone());
        let tree = HubTree { access, kind, repository: name, revision };
        let failed =
            |error: WebError| WebSourceError { place: place.clone(), problem: error.into() };
        let web = self.web(options).map_err(failed).map_err(web_error)?;
        let opened = WebEndpoint::hub(web, &tree, self.web_options(options), self.clock()).await;
        Ok(reached(opened.map_err(web_error)?, place, transport, options))
    }

    /// What makes requests.
    pub(super) fn web(&self, options: &TransferOptions) -> Result<Web, WebError> {
        Web::new(options.retry.stall)
    }

    fn web_options(&self, options: &TransferOptions) -> WebOptions {
        let (retry, streams) = (options.retry, options.network.streams);
        WebOptions { retry, streams, seed: self.unique() }
    }
}

fn reached(
    endpoint: WebEndpoint,
    place: String,
    transport: String,
    options: &TransferOptions,
) -> Connected {
    let notices = endpoint.notices().to_vec();
    let streams = options.network.streams.map_or(STREAMS, NonZeroUsize::get).min(STREAMS_MAX);
    let route = Some(Route { kind: "web", transport, direct: true, streams });
    let endpoint = Arc::new(endpoint);
    let here = Connected::here(Arc::clone(&endpoint));
    Connected { place, route, notices, far: Far::Web(endpoint), ..here }
}
