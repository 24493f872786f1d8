//! What a person types for a host

use std::fmt;
use std::str::FromStr;

use super::error::{SshError, TargetProblem};

/// No host name or user name is longer
pub(super) const NAME_BYTES_MAX: usize = 255;

/// `[user@]host[:port]`, safe to be an argument of ssh and to stand in a ProxyCommand
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshTarget {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl SshTarget {
    /// Checks the parts; an IPv6 address carries no brackets here
    ///
    /// A leading dash, blanks, control and shell characters are refused before any process starts.
    pub fn new(user: Option<&str>, host: &str, port: Option<u16>) -> Result<Self, SshError> {
        let typed = || match user {
            Some(user) => format!("{user}@{host}"),
            None => host.to_owned(),
        };
        let refused = |problem| SshError::Target { typed: typed(), problem };
        check_host(host).map_err(refused)?;
        if let Some(user) = user {
            if user.contains(':') {
                return Err(SshError::Target {
                    typed: format!("…@{host}"),
                    problem: TargetProblem::Password,
                });
            }
            check_user(user).map_err(refused)?;
        }
        if port == Some(0) {
            return Err(refused(TargetProblem::Port));
        }
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }

    /// The login name, when one was typed
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The host as it was typed: a name, an alias of the configuration, or an address
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, when one was typed
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl FromStr for SshTarget {
    type Err = SshError;

    /// Reads `[user@]host[:port]`, the host in brackets when it is an IPv6 address with a port
    fn from_str(typed: &str) -> Result<Self, SshError> {
        let (user, rest) = match typed.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, typed),
        };
        let shown = match user {
            Some(user) if user.contains(':') => format!("…@{rest}"),
            _ => typed.to_owned(),
        };
        let refused = |problem| SshError::Target { typed: shown.clone(), problem };
        let (host, port) = split_port(rest).map_err(refused)?;
        let port = port.map(parse_port).transpose().map_err(refused)?;
        Self::new(user, host, port)
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(formatter, "{user}@")?;
        }
        match self.port {
            None if self.host.contains(':') => write!(formatter, "[{}]", self.host),
            None => formatter.write_str(&self.host),
            Some(port) => formatter.write_str(&host_and_port(&self.host, port)),
        }
    }
}

/// `host:port`, or `[host]:port` when the host has colons of its own
pub(super) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A port as people and configurations write it
pub(super) fn parse_port(text: &str) -> Result<u16, TargetProblem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(TargetProblem::Port),
    }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), TargetProblem> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(TargetProblem::Brackets)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(TargetProblem::Brackets),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, port)) if port.contains(':') => Err(TargetProblem::Brackets),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

fn check_host(host: &str) -> Result<(), TargetProblem> {
    check_length_and_dash(host)?;
    let forbidden = |character: char| {
        character.is_control()
            || character.is_whitespace()
            || "'\"`$\\;&<>|(){}*?!#[]/@,=^~+".contains(character)
    };
    match host.chars().find(|character| forbidden(*character)) {
        Some(character) => Err(TargetProblem::Character(character)),
        None if host.contains(':') => check_ipv6(host),
        // A scope such as %eth0 belongs to an IPv6 address; elsewhere % would be a token of ssh.
        None if host.contains('%') => Err(TargetProblem::Character('%')),
        None => Ok(()),
    }
}

fn check_ipv6(host: &str) -> Result<(), TargetProblem> {
    let (address, scope) = match host.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (host, None),
    };
    let named = |scope: &str| {
        !scope.is_empty()
            && scope
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || "._-".contains(character))
    };
    if address.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(TargetProblem::Character(':'));
    }
    if scope.is_none_or(named) { Ok(()) } else { Err(TargetProblem::Character('%')) }
}

fn check_user(user: &str) -> Result<(), TargetProblem> {
    check_length_and_dash(user)?;
    // The rule of OpenSSH 9.6, which learnt it from CVE-2023-51385, and no blanks at all.
    let forbidden = |character: char| {
        character.is_control() || character.is_whitespace() || "'\"`$;&<>|(){}%".contains(character)
    };
    match user.chars().find(|character| forbidden(*character)) {
        Some(character) => Err(TargetProblem::Character(character)),
        None if user.ends_with('\\') => Err(TargetProblem::Character('\\')),
        None => Ok(()),
    }
}

fn check_length_and_dash(text: &str) -> Result<(), TargetProblem> {
    if text.is_empty() {
        return Err(TargetProblem::Empty);
    }
    if text.starts_with('-') {
        return Err(TargetProblem::LeadingDash);
    }
    if text.len() > NAME_BYTES_MAX { Err(TargetProblem::TooLong) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(typed: &str) -> TargetProblem {
        match typed.parse::<SshTarget>() {
            Err(SshError::Target { problem, .. }) => problem,
            other => panic!("{typed:?} gave {other:?}"),
        }
    }

    #[test]
    fn what_ssh_accepts_is_accepted() {
        for (typed, user, host, port) in [
            ("h", None, "h", None),
            ("u@h", Some("u"), "h", None),
            ("u@h:22", Some("u"), "h", Some(22)),
            ("u@dom@h", Some("u@dom"), "h", None),
            ("[::1]:2200", None, "::1", Some(2200)),
            ("[fe80::1%eth0]", None, "fe80::1%eth0", None),
            ("[::ffff:1.2.3.4]", None, "::ffff:1.2.3.4", None),
            ("host.example.", None, "host.example.", None),
            ("xn--bcher-kva.example", None, "xn--bcher-kva.example", None),
            ("bücher.example", None, "bücher.example", None),
            ("h:65535", None, "h", Some(65535)),
        ] {
            let target = typed.parse::<SshTarget>().unwrap();
            assert_eq!(
                (target.user(), target.host(), target.port()),
                (user, host, port),
                "{typed}"
            );
            assert_eq!(target.to_string().parse::<SshTarget>().unwrap(), target);
        }
    }

    #[test]
    fn bad_ports_are_usage_errors() {
        for port in ["0", "70000", "-1", "65536", "22x", "", "+22", " 22", "0x16", "22 "] {
            assert_eq!(problem(&format!("h:{port}")), TargetProblem::Port, "{port:?}");
        }
    }

    #[test]
    fn what_a_shell_or_an_option_parser_would_misread_is_refused() {
        use TargetProblem::{Brackets, Character, Empty, LeadingDash, TooLong};
        for (typed, expected) in [
            ("-oProxyCommand=id", LeadingDash),
            ("-l@h", LeadingDash),
            ("u@-oProxyCommand=id", LeadingDash),
            ("", Empty),
            ("@h", Empty),
            ("u@", Empty),
            ("a$(id)", Character('$')),
            ("a`id`", Character('`')),
            ("a b", Character(' ')),
            ("a\nb", Character('\n')),
            ("a%0ab", Character('%')),
            ("u'v@h", Character('\'')),
            ("[::1", Brackets),
            ("::1", Brackets),
            ("[::1]x", Brackets),
            ("[::zz]", Character(':')),
            ("[fe80::1%]", Character('%')),
            ("[a;b]", Character(';')),
        ] {
            assert_eq!(problem(typed), expected, "{typed:?}");
        }
        assert_eq!(problem(&"l".repeat(300)), TooLong);
    }

    #[test]
    fn a_password_is_refused_and_never_shown() {
        let error = "user:hunter2@h".parse::<SshTarget>().unwrap_err();
        assert!(matches!(&error, SshError::Target { problem: TargetProblem::Password, .. }));
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
