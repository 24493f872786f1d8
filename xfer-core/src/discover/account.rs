//! An account whose key is a variable or a file of the platform's own tool, and where it is asked.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::ApiProblem;
use super::key_files;
use super::requests::Requests;
use crate::clock::Clock;
use crate::transport::http::Base;

/// Where a platform's interface is, and what its own tool calls the key.
#[derive(Debug)]
pub struct Account {
    /// The interface, and the variable that names another.
    pub(super) base: (&'static str, &'static str),
    /// The variable of the key, which comes before the file.
    pub(super) key: &'static str,
    /// The file of the platform's own tool below the home directory, and the words that name a key
    /// in it.
    pub(super) file: (&'static str, &'static [&'static str]),
}

/// What decides whom to ask, and with which key.
#[derive(Clone)]
pub struct AccountSettings {
    account: &'static Account,
    base: Option<String>,
    key: Option<String>,
    file: Option<PathBuf>,
}

impl fmt::Debug for AccountSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountSettings").field("base", &self.base).finish_non_exhaustive()
    }
}

impl AccountSettings {
    /// What the environment says, read through `variable`.
    #[must_use]
    pub fn of_environment(
        account: &'static Account,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let set = |name| text(name).filter(|value| !value.trim().is_empty());
        let home = variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        Self {
            account,
            base: set(account.base.1),
            key: set(account.key),
            file: home.map(|home| home.join(account.file.0)),
        }
    }

    pub(super) fn requests(
        &self,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Result<Requests, ApiProblem> {
        let Account { base: (place, named), key, file: (_, words) } = self.account;
        let base = Base::parse(self.base.as_deref().unwrap_or(place)).ok_or_else(|| {
            ApiProblem::Unusable(format!("{named} must be https://HOST, without user or query"))
        })?;
        let keys = key_files::named((key, self.key.as_ref()), self.file.as_deref(), words)?;
        Requests::new(base, keys, clock, seed)
    }
}
