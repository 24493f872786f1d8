//! Where a file is read over HTTP: read once, and shown without what may be a secret.

use std::fmt;

use super::http::is_here;

/// `https://host[:port]/path?query`; `http://` to this machine's own addresses alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(reqwest::Url);

impl Address {
    /// Reads one; `None` where it is none, or would carry a name or a key in the clear.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::check(reqwest::Url::parse(text).ok()?)
    }

    /// Where an answer leads from here; `None` where nobody should follow: out of TLS, or from
    /// elsewhere to this machine, which answers to itself what it tells nobody else.
    #[must_use]
    pub fn leads_to(&self, location: &str) -> Option<Self> {
        let next = Self::check(self.0.join(location).ok()?)?;
        (is_here(&self.0) || !is_here(&next.0)).then_some(next)
    }

    fn check(mut address: reqwest::Url) -> Option<Self> {
        address.set_fragment(None);
        let is_safe =
            address.scheme() == "https" || (address.scheme() == "http" && is_here(&address));
        let is_plain = address.username().is_empty() && address.password().is_none();
        (is_safe && is_plain && address.has_host()).then_some(Self(address))
    }

    /// All of it: never to be shown, for its query may be a signature.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.0.as_str()
    }

    /// Host and port.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", self.0.scheme(), self.host())
    }

    /// The path, encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// Whether both are answered by one host, on one port and by one scheme.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = if self.0.query().is_some() { "?…" } else { "" };
        write!(f, "{}://{}{}{hidden}", self.0.scheme(), self.host(), self.0.path())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(from: &str, to: &str) -> Option<String> {
        let next = Address::parse(from).unwrap().leads_to(to)?;
        Some(next.secret().to_owned())
    }

    #[test]
    fn nothing_leaves_tls_and_nothing_carries_a_name() {
        for bad in [
            "http://example.com/a",
            "ftp://127.0.0.1/a",
            "https://u:p@example.com/a",
            "https://u@example.com/a",
            "file:///etc/passwd",
            "a/b",
        ] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
        for good in ["https://example.com/a?b", "http://127.0.0.1:80/", "http://[::1]/a"] {
            assert!(Address::parse(good).is_some(), "{good}");
        }
    }

    #[test]
    fn an_answer_leads_where_it_may() {
        let from = "https://example.com/a/b?q";
        assert_eq!(leads(from, "c"), Some("https://example.com/a/c".to_owned()));
        assert_eq!(leads(from, "//b.org/c"), Some("https://b.org/c".to_owned()));
        for bad in ["http://example.com/a", "https://127.0.0.1/", "http://localhost/x", "data:,a"] {
            assert_eq!(leads(from, bad), None, "{bad}");
        }
        assert!(leads("http://127.0.0.1:1/", "http://127.0.0.1:2/").is_some());
    }

    #[test]
    fn a_query_is_not_shown() {
        let address = Address::parse("https://h.org/f?X-Amz-Signature=hidden#part").unwrap();
        assert_eq!(format!("{address} {address:?}").matches("hidden").count(), 0);
        assert_eq!(address.secret(), "https://h.org/f?X-Amz-Signature=hidden");
    }
}
