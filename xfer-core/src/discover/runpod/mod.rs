//! RunPod: pods by its GraphQL interface.
//!
//! Its REST interface tells ports without telling which of them are public; this one does. One
//! query names every pod of the account, so what it does not have is not there.

mod row;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::error::{ApiProblem, PlatformError};
use super::json::Json;
use super::requests::{Endpoint, Requests};
use super::{MachineRow, Platform, Shown, key_files};
use crate::clock::Clock;
use crate::transport::http::Base;

/// Where the interface is, unless the environment says otherwise.
const BASE: &str = "https://api.runpod.io/graphql";

/// No limit is documented; its own tool keeps none.
const QUERIES: Endpoint = Endpoint { name: "query", interval: Duration::from_secs(1) };

/// What is asked: no field that may hold a secret, such as a pod's environment.
const QUERY: &str = "query { myself { pods { id name desiredStatus podType costPerHr runtime { \
                     ports { ip isIpPublic privatePort publicPort type } } } } }";

/// What decides whom to ask, and with which key.
#[derive(Clone, Default)]
pub struct RunPodSettings {
    /// `RUNPOD_GRAPHQL_URL`. Default: `https://api.runpod.io/graphql`.
    pub base: Option<String>,
    /// `RUNPOD_API_KEY`, which comes before the file.
    pub key: Option<String>,
    /// The file of the platform's own tool. Default: none.
    pub file: Option<PathBuf>,
}

impl fmt::Debug for RunPodSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunPodSettings").field("base", &self.base).finish_non_exhaustive()
    }
}

impl RunPodSettings {
    /// What the environment says, read through `variable`.
    #[must_use]
    pub fn of_environment(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let set = |name| text(name).filter(|value| !value.trim().is_empty());
        let home = variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        Self {
            base: set("RUNPOD_GRAPHQL_URL"),
            key: set("RUNPOD_API_KEY"),
            file: home.map(|home| home.join(".runpod/config.toml")),
        }
    }

    fn requests(&self, clock: Arc<dyn Clock>, seed: u64) -> Result<Requests, ApiProblem> {
        let base = Base::parse(self.base.as_deref().unwrap_or(BASE)).ok_or_else(|| {
            let what = "RUNPOD_GRAPHQL_URL must be https://HOST, without user or query";
            ApiProblem::Unusable(what.to_owned())
        })?;
        let variable = ("RUNPOD_API_KEY", self.key.as_ref());
        let keys = key_files::named(variable, self.file.as_deref(), &["apikey", "api_key"])?;
        Requests::new(base, keys, clock, seed)
    }
}

/// RunPod, asked with the key that its own tool would use.
pub struct RunPod {
    requests: Requests,
}

impl RunPod {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// Where no key is at hand, or none that can be used.
    pub fn new(
        settings: &RunPodSettings,
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
