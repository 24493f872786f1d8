//! Surveys of this machine for a session: one at a time, each begun once and asked for until it is
//! over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use xfer_protocol::message::{Reply, Request};
use xfer_protocol::survey::Surveyed;

use crate::endpoint::{self, Endpoint, EndpointError, EndpointResult, LostReason};

/// How long an answer waits for the end of a survey: far below any silence that counts as a stall.
const PATIENCE: Duration = Duration::from_secs(5);

type Result = Option<EndpointResult<Surveyed>>;

/// The survey of a session.
pub(super) struct Surveys {
    under_way: Mutex<Option<UnderWay>>,
    patience: Duration,
}

struct UnderWay {
    number: u32,
    told: watch::Receiver<Result>,
    /// Ends it.
    _ends: DropGuard,
}

impl Default for Surveys {
    fn default() -> Self {
        Self { under_way: Mutex::default(), patience: PATIENCE }
    }
}

impl Surveys {
    /// Answers what concerns the machine as a whole.
    pub(super) async fn answer<E: Endpoint + 'static>(
        &self,
        endpoint: &Arc<E>,
        request: Request,
    ) -> EndpointResult<Reply> {
        match request {
            Request::Identify(mark) => endpoint.identify(mark).await.map(Reply::Container),
            Request::WriteBack(root) => endpoint.write_back(root).await.map(|()| Reply::Done),
            Request::Survey(survey) => {
                let (endpoint, number) = (Arc::clone(endpoint), survey.number);
                let look = move || async move { endpoint.survey(survey).await };
                let found = self.ask(number, look).await?;
                Ok(Reply::Surveyed(found.map(Box::new)))
            }
            _ => Err(endpoint::unsupported()),
        }
    }

    /// What the survey of that number found, `None` as long as it is under way. Another number ends
    /// the one before and begins anew.
    async fn ask<F>(
        &self,
        number: u32,
        look: impl FnOnce() -> F,
    ) -> EndpointResult<Option<Surveyed>>
    where
        F: Future<Output = EndpointResult<Surveyed>> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().await;
        let mut told = match under_way.as_ref().filter(|under_way| under_way.number == number) {
            Some(under_way) => under_way.told.clone(),
            None => {
                drop(under_way.take());
                let (told, _ends) = begin(look());
                *under_way = Some(UnderWay { number, told: told.clone(), _ends });
                told
            }
        };
        drop(under_way);
        let over = tokio::time::timeout(self.patience, told.wait_for(Option::is_some)).await;
        match over {
            Err(_not_yet) => Ok(None),
            Ok(Ok(told)) => told.clone().transpose(),
            // Another number took its place.
            Ok(Err(_)) => Err(EndpointError::Lost(LostReason::ClosedHere)),
        }
    }
}

fn begin<F>(look: F) -> (watch::Receiver<Result>, DropGuard)
where
    F: Future<Output = EndpointResult<Surveyed>> + Send + 'static,
{
    let (tell, told) = watch::channel(None);
    let ended = CancellationToken::new();
    let ends = ended.clone().drop_guard();
    tokio::spawn(async move {
        tokio::select! {
            found = look => {
                // Nobody need be there any more.
                let _told = tell.send(Some(found));
            }
            () = ended.cancelled() => {}
        }
    });
    (told, ends)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;

    use super::*;

    fn found() -> Surveyed {
        Surveyed { shared: vec![b"/shared".to_vec()], ..Surveyed::default() }
    }

    #[tokio::test]
    async fn a_survey_is_begun_once_and_dropped_for_another() {
        let surveys = Surveys { patience: Duration::ZERO, ..Surveys::default() };
        let (alive, dropped) = oneshot::channel::<()>();
        let endless = async move {
            let _alive = alive;
            pending().await
        };
        assert_eq!(surveys.ask(1, || endless).await, Ok(None));
        let again = || -> std::future::Ready<_> { panic!("it is under way") };
        assert_eq!(surveys.ask(1, again).await, Ok(None));
        let mut told = surveys.ask(2, || ready(Ok(found()))).await;
        assert!(dropped.await.is_err(), "the first one ended");
        while told == Ok(None) {
            tokio::task::yield_now().await;
            told = surveys.ask(2, again).await;
        }
        assert_eq!(told, Ok(Some(found())));
        assert_eq!(surveys.ask(2, again).await, Ok(Some(found())), "it is told as often as asked");
    }
}
