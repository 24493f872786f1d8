//! Vast.ai: instances by its REST interface.

mod itself;
mod keys;
mod login_keys;
mod row;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::error::{ApiProblem, PlatformError};
use super::json::Json;
use super::requests::{Endpoint, Requests};
use super::{LoginKey, MachineRow, Ordered, Platform, Shown};
use crate::clock::Clock;
use crate::transport::http::Method;

pub use itself::InstancePlaces;
pub use keys::VastSettings;

/// Machines in one page; the interface gives no more.
const PAGE: usize = 25;

/// Pages of one list; no account has ten thousand machines.
const PAGES_MAX: usize = 400;

/// How often a list is walked where machines come and go meanwhile.
const WALKS_MAX: usize = 3;

/// Where all machines are listed. Of the older address an empty list means nothing.
const LIST: &str = "/api/v1/instances/";

const LISTS: Endpoint = Endpoint { name: "list", interval: Duration::from_secs(1) };
const DESTROYS: Endpoint = Endpoint { name: "destroy", interval: Duration::from_secs(3) };
const LOGIN_KEYS: Endpoint = Endpoint { name: "ssh", interval: Duration::from_secs(2) };
const MANAGES: Endpoint = Endpoint { name: "manage", interval: Duration::from_secs(1) };
const SHOWS: Endpoint = Endpoint { name: "show", interval: Duration::from_secs(2) };

/// Vast.ai, asked with the keys that its own tool would use.
pub struct Vast {
    requests: Requests,
}

impl Vast {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// Where no key is at hand, or none that can be used.
    pub fn new(
        settings: &VastSettings,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Result<Self, PlatformError> {
        let failed = |problem| PlatformError { place: "Vast.ai".to_owned(), problem };
        let (base, keys) = (settings.base().map_err(failed)?, settings.keys().map_err(failed)?);
        let requests = Requests::new(base, keys, clock, seed).map_err(failed)?;
        Ok(Self { requests: if settings.unhurried { requests.unspaced() } else { requests } })
    }

    async fn manage(&self, name: &str, state: &str) -> Ordered {
        let path = format!("/api/v0/instances/{name}/");
        let body = format!("{{\"state\":\"{state}\"}}");
        self.requests.order(MANAGES, Method::Put, &path, &body).await
    }

    async fn walk(&self) -> Result<Walk, PlatformError> {
        let (mut rows, mut seen) = (Vec::new(), BTreeSet::new());
        let (mut token, mut tokens) = (None::<String>, BTreeSet::new());
        for _ in 0..PAGES_MAX {
            let mut query = vec![
                ("limit", PAGE.to_string()),
                ("order_by", r#"[{"col":"id","dir":"asc"}]"#.to_owned()),
                ("select_cols", r#"["*"]"#.to_owned()),
            ];
            query.extend(token.take().map(|token| ("after_token", token)));
            let page = self.requests.get(LISTS, LIST, &query).await?;
            let broken = |what: &str| self.requests.unusable(LIST, what.to_owned());
            let list = page.get("instances").and_then(Json::list);
            for instance in list.ok_or_else(|| broken("instances is no list"))? {
                let row = row::read(instance).map_err(|what| self.requests.unusable(LIST, what))?;
                if !seen.insert(row.machine.to_string()) {
                    return Err(broken("an id stands twice in the list"));
                }
                rows.push(row);
            }
            match page.get("next_token") {
                None => return Ok(Walk { is_whole: is_whole(&page, rows.len()), rows }),
                Some(Json::Text(next)) if next.is_empty() => {
                    return Ok(Walk { is_whole: is_whole(&page, rows.len()), rows });
                }
                Some(Json::Text(next)) if tokens.insert(next.clone()) => token = Some(next.clone()),
                Some(_) => return Err(broken("next_token leads nowhere")),
            }
        }
        Err(self.requests.unusable(LIST, format!("the list has more than {PAGES_MAX} pages")))
    }

    /// What an answer about one instance says: nothing where the instance is said to be absent.
    fn instance(
        &self,
        path: &str,
        name: &str,
        answer: &Json,
    ) -> Result<Option<MachineRow>, PlatformError> {
        let unusable = |what: String| self.requests.unusable(path, what);
        match answer.get("instances") {
            None if answer.has("instances") => Ok(None),
            None => Err(unusable("instances is not there".to_owned())),
            Some(instance) => {
                let row = row::read(instance).map_err(unusable)?;
                let is_it = row.machine
                    == crate::location::PlatformMachine::named(row.machine.platform, name);
                if is_it {
                    Ok(Some(row))
                } else {
                    Err(unusable(format!("it is about {}", row.machine)))
                }
            }
        }
    }
}

/// A list as it came.
struct Walk {
    rows: Vec<MachineRow>,
    /// Whether it holds as many as there are said to be.
    is_whole: bool,
}

fn is_whole(page: &Json, rows: usize) -> bool {
    match page.get("total_instances") {
        Some(Json::Whole(total)) => usize::try_from(*total).is_ok_and(|total| rows >= total),
        // A list that does not say how long it is cannot be compared.
        _ => false,
    }
}

#[async_trait]
impl Platform for Vast {
    async fn list(&self) -> Result<Vec<MachineRow>, PlatformError> {
        for _ in 0..WALKS_MAX {
            let walk = self.walk().await?;
            if walk.is_whole {
                return Ok(walk.rows);
            }
        }
        Err(self
            .requests
            .unusable(LIST, "it lists fewer machines than it says there are".to_owned()))
    }

    async fn show(&self, name: &str) -> Result<Shown, PlatformError> {
        let path = format!("/api/v0/instances/{name}/");
        let query = [("owner", "me".to_owned())];
        let answered = self.requests.get(SHOWS, &path, &query).await;
        let found = match answered {
            Ok(answer) => self.instance(&path, name, &answer)?,
            Err(PlatformError { problem: ApiProblem::NotFound(said), .. })
                if said.contains("no_such_instance") =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        if let Some(row) = found {
            return Ok(Shown::Present(Box::new(row)));
        }
        let listed = self.list().await?.into_iter().find(|row| row.machine.name() == Some(name));
        Ok(listed.map_or(Shown::Gone, |row| Shown::Present(Box::new(row))))
    }

    async fn start(&self, name: &str) -> Ordered {
        self.manage(name, "running").await
    }

    async fn stop(&self, name: &str) -> Ordered {
        self.manage(name, "stopped").await
    }

    async fn destroy(&self, name: &str) -> Ordered {
        let path = format!("/api/v0/instances/{name}/");
        self.requests.order(DESTROYS, Method::Delete, &path, "{}").await
    }

    async fn login_keys(&self, name: &str) -> Result<Vec<LoginKey>, PlatformError> {
        let path = format!("/api/v0/instances/{name}/ssh/");
        let answer = self.requests.get(LOGIN_KEYS, &path, &[]).await?;
        login_keys::read(&answer).map_err(|what| self.requests.unusable(&path, what))
    }
}

/// What fuzzing reaches of this room.
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzed {
    use super::row::{self, bent::Bent};
    use crate::discover::json::Json;

    pub(in crate::discover) fn read(json: &Json) {
        let _read = row::read(json);
        let _read = super::login_keys::read(json);
    }

    pub(in crate::discover) fn bent(random: &mut impl FnMut() -> u64) {
        Bent::new().leads_nowhere_new(random);
    }
}
