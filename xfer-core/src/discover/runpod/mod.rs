//! RunPod: pods by its GraphQL interface.
//!
//! Its REST interface tells ports without telling which of them are public; this one does. One
//! query names every pod of the account, so what it does not have is not there.

mod row;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::account::{Account, AccountSettings};
use super::error::PlatformError;
use super::json::Json;
use super::requests::{Endpoint, Requests};
use super::{MachineRow, Platform, Shown};
use crate::clock::Clock;

/// No limit is documented; its own tool keeps none.
const QUERIES: Endpoint = Endpoint { name: "query", interval: Duration::from_secs(1) };

/// What is asked: no field that may hold a secret, such as a pod's environment.
const QUERY: &str = "query { myself { pods { id name desiredStatus podType costPerHr runtime { \
                     ports { ip isIpPublic privatePort publicPort type } } } } }";

/// RunPod, asked with the key that its own tool would use.
pub struct RunPod {
    requests: Requests,
}

impl RunPod {
    /// What its own tools call the key, and where it is asked.
    pub const ACCOUNT: &Account = &Account {
        base: ("https://api.runpod.io/graphql", "RUNPOD_GRAPHQL_URL"),
        key: "RUNPOD_API_KEY",
        file: (".runpod/config.toml", &["apikey", "api_key"]),
    };

    /// Asks nobody yet.
    ///
    /// # Errors
    /// Where no key is at hand, or none that can be used.
    pub fn new(
        settings: &AccountSettings,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Result<Self, PlatformError> {
        let failed = |problem| PlatformError { place: "RunPod".to_owned(), problem };
        Ok(Self { requests: settings.requests(clock, seed).map_err(failed)? })
    }

    fn rows(&self, answer: &Json) -> Result<Vec<MachineRow>, PlatformError> {
        let unusable = |what: String| self.requests.unusable_query("", what);
        let account = answer.get("data").and_then(|data| data.get("myself"));
        let pods = account.and_then(|account| account.get("pods")).and_then(Json::list);
        let pods = pods.ok_or_else(|| unusable("data.myself.pods is no list".to_owned()))?;
        let mut seen = BTreeSet::new();
        let mut rows = Vec::with_capacity(pods.len());
        for pod in pods {
            let row = row::read(pod).map_err(unusable)?;
            if !seen.insert(row.machine.to_string()) {
                return Err(unusable("an id stands twice in the list".to_owned()));
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

#[async_trait]
impl Platform for RunPod {
    async fn list(&self) -> Result<Vec<MachineRow>, PlatformError> {
        let body = serde_json::json!({ "query": QUERY }).to_string();
        self.rows(&self.requests.query(QUERIES, "", body).await?)
    }

    async fn show(&self, name: &str) -> Result<Shown, PlatformError> {
        let found = self.list().await?.into_iter().find(|row| row.machine.name() == Some(name));
        Ok(found.map_or(Shown::Gone, |row| Shown::Present(Box::new(row))))
    }
}
