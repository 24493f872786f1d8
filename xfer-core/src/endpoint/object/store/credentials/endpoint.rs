//! Addresses that somebody names, and whether what is secret may be sent there.

use std::net::IpAddr;

use super::problem::OpenError;

/// An endpoint without what does not belong to one, and no `/` at its end.
pub(in super::super) fn endpoint(from: &str, text: &str) -> Result<String, OpenError> {
    let bad = |why| OpenError::BadEndpoint { from: from.to_owned(), why };
    let text = text.trim();
    let parsed: http::Uri = text.parse().map_err(|_| bad("this is no address"))?;
    let (Some("http" | "https"), Some(authority)) = (parsed.scheme_str(), parsed.authority())
    else {
        return Err(bad("this is no address of http or https"));
    };
    if authority.as_str().contains('@') {
        return Err(bad("an address with a name or a password in it"));
    }
    if parsed.query().is_some() || text.contains('#') {
        return Err(bad("an address with a query"));
    }
    if parsed.host().is_none_or(str::is_empty) {
        return Err(bad("an address without a host"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Whether an endpoint is this machine.
pub(in super::super) fn is_here(endpoint: &str) -> bool {
    let parsed = endpoint.parse::<http::Uri>().ok();
    let host = parsed.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Whether whoever is on the way could read what is sent there.
fn is_open(endpoint: &str) -> bool {
    let parsed = endpoint.parse::<http::Uri>().ok();
    let is_https = parsed.is_some_and(|parsed| parsed.scheme_str() == Some("https"));
    !is_https && !is_here(endpoint)
}

/// An endpoint to which nothing goes that others could read.
pub(in super::super) fn secret_to(from: &str, text: &str) -> Result<String, OpenError> {
    let endpoint = endpoint(from, text)?;
    let why = "the credentials would be readable on their way; use https";
    let bad = || OpenError::BadEndpoint { from: from.to_owned(), why };
    if is_open(&endpoint) { Err(bad()) } else { Ok(endpoint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_where_nobody_reads_them() {
        for (text, goes) in [
            ("https://a.example/", true),
            ("HTTPS://a.example", true),
            ("http://127.0.0.1:9", true),
            ("http://localhost:9", true),
            ("http://[::1]:9", true),
            ("http://a.example", false),
            ("HTTP://a.example", false),
            ("http://127.0.0.1.example", false),
            ("ftp://a.example", false),
            ("a.example", false),
        ] {
            assert_eq!(secret_to("AWS_ENDPOINT_URL_STS", text).is_ok(), goes, "{text}");
        }
    }
}
