//! Surveys of this machine for a session: one at a time, each begun once and asked for until it is
//! over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use xfer_protocol::message::{Reply, Request};
use xfer_protocol::survey::{Survey, Surveyed};

use crate::endpoint::{self, Endpoint, EndpointError, EndpointResult, LostReason};

/// How long an answer waits for the end of a survey: far below any silence that counts as a stall.
const PATIENCE: Duration = Duration::from_secs(5);

type Result = Option<EndpointResult<Surveyed>>;

/// The survey of a session; clones are the same.
#[derive(Default)]
pub(super) struct Surveys(Mutex<Option<UnderWay>>);

struct UnderWay {
    number: u32,
    told: watch::Receiver<Result>,
    /// Ends it.
    _ends: DropGuard,
}

impl Surveys {
    /// Answers what concerns the machine as a whole.
    pub(super) async fn answer<E: Endpoint + ?Sized + 'static>(
        &self,
        endpoint: &Arc<E>,
        request: Request,
    ) -> EndpointResult<Reply> {
        match request {
            Request::Identify(mark) => endpoint.identify(mark).await.map(Reply::Container),
            Request::WriteBack(root) => endpoint.write_back(root).await.map(|()| Reply::Done),
            Request::Survey(survey) => {
                let found = self.ask(endpoint, survey).await?;
                Ok(Reply::Surveyed(found.map(Box::new)))
            }
            _ => Err(endpoint::unsupported()),
        }
    }

    /// What the survey of that number found, `None` as long as it is under way. Another number ends
    /// the one before and begins anew.
    async fn ask<E: Endpoint + ?Sized + 'static>(
        &self,
        endpoint: &Arc<E>,
        survey: Survey,
    ) -> EndpointResult<Option<Surveyed>> {
        let mut under_way = self.0.lock().await;
        let same = under_way.as_ref().filter(|under_way| under_way.number == survey.number);
        let mut told = match same {
            Some(under_way) => under_way.told.clone(),
            None => {
                drop(under_way.take());
                let begun = begin(Arc::clone(endpoint), survey);
                let told = begun.told.clone();
                *under_way = Some(begun);
                told
            }
        };
        drop(under_way);
        let over = tokio::time::timeout(PATIENCE, told.wait_for(Option::is_some)).await;
        match over {
            Err(_not_yet) => Ok(None),
            Ok(Ok(told)) => told.clone().transpose(),
            // Another number took its place.
            Ok(Err(_)) => Err(EndpointError::Lost(LostReason::ClosedHere)),
        }
    }
}

fn begin<E: Endpoint + ?Sized + 'static>(endpoint: Arc<E>, survey: Survey) -> UnderWay {
    let number = survey.number;
    let (tell, told) = watch::channel(None);
    let ended = CancellationToken::new();
    let ends = ended.clone().drop_guard();
    tokio::spawn(async move {
        tokio::select! {
            found = endpoint.survey(survey) => {
                // Nobody need be there any more.
                let _told = tell.send(Some(found));
            }
            () = ended.cancelled() => {}
        }
    });
    UnderWay { number, told, _ends: ends }
}
