//! Which hub is asked, and with which key, as the hub's own tools have it.

use std::path::PathBuf;

use crate::disk::settings_file;
use crate::transport::address::Address;
use crate::transport::http::Bearer;

/// Where repositories are where nobody says otherwise.
const ENDPOINT: &str = "https://huggingface.co";

/// Bytes of a file with a key.
const KEY_FILE_MAX: u64 = 4096;

/// A hub, and the key that goes to it and to no other host.
#[derive(Clone, Debug)]
pub struct HubAccess {
    /// The hub.
    pub endpoint: Address,
    /// The key; public repositories need none.
    pub token: Option<Bearer>,
}

/// Why the hub's settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HubAccessError {
    /// The hub's address is none.
    #[error("HF_ENDPOINT is no address that begins with https://")]
    Endpoint,
    /// A key that no header can carry.
    #[error("{0} holds no key that can be sent")]
    Token(String),
}

impl HubAccess {
    /// Reads `HF_ENDPOINT`; `HF_TOKEN`, or else the file that the hub's own tools keep: that of
    /// `HF_TOKEN_PATH`, or `token` in `HF_HOME`, by default `~/.cache/huggingface`.
    ///
    /// # Errors
    /// Where either is there and cannot be used. A file that cannot be read counts as absent, for
    /// public repositories need none.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, HubAccessError> {
        let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
        let endpoint = variable("HF_ENDPOINT");
        let endpoint = Address::parse(endpoint.as_deref().unwrap_or(ENDPOINT).trim());
        let endpoint = endpoint.filter(|endpoint| !endpoint.secret().contains('?'));
        let endpoint = endpoint.ok_or(HubAccessError::Endpoint)?;
        let (place, text) = match variable("HF_TOKEN") {
            Some(text) => ("HF_TOKEN".to_owned(), text),
            None => match key_file(&variable) {
                Some(found) => found,
                None => return Ok(Self { endpoint, token: None }),
            },
        };
        let token = Some(Bearer::new(&text).ok_or(HubAccessError::Token(place))?);
        Ok(Self { endpoint, token })
    }
}

fn key_file(variable: &impl Fn(&'static str) -> Option<String>) -> Option<(String, String)> {
    let directory = || {
        let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
        let home = variable("HF_HOME").map(PathBuf::from);
        home.or_else(|| Some(cache?.join("huggingface")))
    };
    let path = variable("HF_TOKEN_PATH").map(PathBuf::from);
    let path = path.or_else(|| Some(directory()?.join("token")))?;
    let file = settings_file::read(&path, KEY_FILE_MAX).ok()?;
    let text = String::from_utf8(file.bytes).ok().filter(|text| !text.trim().is_empty())?;
    Some((path.display().to_string(), text))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests make files")]

    use super::*;

    fn of(set: &[(&str, &str)]) -> Result<HubAccess, HubAccessError> {
        HubAccess::of(|name| {
            set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn bearer(access: &HubAccess) -> Option<String> {
        let header = access.token.as_ref()?.header()?;
        Some(header.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_hub_is_the_public_one_unless_another_is_named() {
        assert_eq!(of(&[]).unwrap().endpoint.host(), "huggingface.co");
        let mirror = of(&[("HF_ENDPOINT", "https://mirror.org/hub/")]).unwrap();
        assert_eq!(mirror.endpoint.secret(), "https://mirror.org/hub/");
        for bad in ["http://mirror.org", "mirror.org", "https://u:p@mirror.org", "https://m/?a"] {
            let refused = of(&[("HF_ENDPOINT", bad)]).unwrap_err();
            assert_eq!(refused, HubAccessError::Endpoint, "{bad}");
        }
    }

    #[test]
    fn the_key_is_the_variables_or_else_the_files() {
        let home = tempfile::tempdir().unwrap();
        let kept = home.path().join(".cache/huggingface");
        std::fs::create_dir_all(&kept).unwrap();
        std::fs::write(kept.join("token"), "of-file\n").unwrap();
        let home = home.path().to_str().unwrap();
        let found = of(&[("HOME", home)]).unwrap();
        assert_eq!(bearer(&found), Some("Bearer of-file".to_owned()));
        let found = of(&[("HOME", home), ("HF_TOKEN", "named")]).unwrap();
        assert_eq!(bearer(&found), Some("Bearer named".to_owned()));
        assert!(!format!("{found:?}").contains("named"));
        let elsewhere = of(&[("HOME", home), ("HF_HOME", "/nonexistent")]).unwrap();
        assert_eq!(bearer(&elsewhere), None);
        let bad = of(&[("HF_TOKEN", "two words")]).unwrap_err();
        assert_eq!(bad, HubAccessError::Token("HF_TOKEN".to_owned()));
    }
}
