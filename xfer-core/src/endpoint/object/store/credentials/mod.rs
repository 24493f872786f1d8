//! Credentials, as the tools of each platform find them.
//!
//! The metadata service of a machine is asked last, and only where the machine itself says, without
//! a network, that it is one of those that have such a service: anywhere else that address may be
//! somebody's who collects what strays to it.

mod asks;
pub(super) mod aws;
pub(super) mod azure;
mod endpoint;
mod environment;
pub(super) mod google;
mod moment;
mod on_machine;
mod problem;
mod process;
mod profiles;
mod refreshed;
mod roles;
mod session;
#[cfg(test)]
mod tests;

use object_store::aws::AwsCredential;

pub(super) use asks::encoded;
use asks::is_token;
pub(super) use endpoint::{endpoint, is_here, secret_to};
pub use environment::Environment;
pub use problem::OpenError;

/// Keys that headers can carry.
fn keys(
    place: &str,
    id: &str,
    secret: &str,
    token: Option<&str>,
) -> Result<AwsCredential, OpenError> {
    let (id, secret, token) = (id.trim(), secret.trim(), token.map(str::trim));
    let token = token.filter(|token| !token.is_empty());
    for (what, text) in
        [("access key id", Some(id)), ("secret access key", Some(secret)), ("session token", token)]
    {
        if text.is_some_and(|text| !is_token(text)) {
            return Err(OpenError::broken(place, format!("the {what} is empty or no key")));
        }
    }
    let token = token.map(str::to_owned);
    Ok(AwsCredential { key_id: id.to_owned(), secret_key: secret.to_owned(), token })
}

/// A region, which becomes part of a host's name.
pub(super) fn region(place: &str, text: &str) -> Result<String, OpenError> {
    let text = text.trim();
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if text.is_empty() || text.len() > 63 || !text.bytes().all(is_label) {
        return Err(OpenError::broken(place, "this is no region; one is like eu-central-1"));
    }
    Ok(text.to_owned())
}
