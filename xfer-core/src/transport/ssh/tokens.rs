//! The tokens of ssh_config: `~`, `%h` and its kin, `${NAME}`

use std::path::PathBuf;

use super::environment::Environment;
use super::error::ConfigurationProblem;

/// What the tokens stand for
#[derive(Debug, Clone)]
pub(super) struct Tokens<'a> {
    pub(super) environment: &'a Environment,
    pub(super) typed_host: &'a str,
    pub(super) hostname: &'a str,
    pub(super) port: u16,
    pub(super) user: &'a str,
    pub(super) host_key_alias: &'a str,
    pub(super) jump: &'a str,
}

/// The tokens that IdentityFile and the known_hosts keywords accept
const FILE_TOKENS: &str = "%CdhijkLlnpru";
/// The tokens that ProxyCommand accepts
const COMMAND_TOKENS: &str = "%hnpr";

impl Tokens<'_> {
    /// Expands `~`, tokens and variables of a file name
    pub(super) fn path(&self, keyword: &str, text: &str) -> Result<PathBuf, ConfigurationProblem> {
        let text = self.with_home(text)?;
        self.expand(keyword, &text, FILE_TOKENS, true).map(PathBuf::from)
    }

    /// Expands the tokens of a ProxyCommand, which a shell reads afterwards
    pub(super) fn command(&self, text: &str) -> Result<String, ConfigurationProblem> {
        self.expand("proxycommand", text, COMMAND_TOKENS, false)
    }

    fn with_home(&self, text: &str) -> Result<String, ConfigurationProblem> {
        let Some(rest) = text.strip_prefix('~') else { return Ok(text.to_owned()) };
        if !(rest.is_empty() || rest.starts_with('/')) {
            return Err(ConfigurationProblem::Unsupported {
                keyword: format!("a file name that begins with {:?}", rest_of_name(text)),
                line: None,
            });
        }
        Ok(format!("{}{rest}", self.home()?))
    }

    fn home(&self) -> Result<String, ConfigurationProblem> {
        let home = self.environment.home.as_deref().ok_or(ConfigurationProblem::NoHome)?;
        Ok(home.display().to_string())
    }

    fn expand(
        &self,
        keyword: &str,
        text: &str,
        allowed: &str,
        variables: bool,
    ) -> Result<String, ConfigurationProblem> {
        let wrong =
            || ConfigurationProblem::Value { keyword: keyword.to_owned(), value: text.to_owned() };
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['%', '$']) {
            expanded.push_str(&rest[..at]);
            let token = &rest[at..];
            if let Some(after) = token.strip_prefix('%') {
                let letter = after.chars().next().filter(|letter| allowed.contains(*letter));
                let letter = letter.ok_or_else(wrong)?;
                expanded.push_str(&self.token(letter)?);
                rest = &after[letter.len_utf8()..];
            } else if let Some((name, after)) =
                token.strip_prefix("${").filter(|_| variables).and_then(|name| name.split_once('}'))
            {
                expanded.push_str(&Environment::variable(name).ok_or_else(wrong)?);
                rest = after;
            } else {
                expanded.push('$');
                rest = &token[1..];
            }
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn token(&self, letter: char) -> Result<String, ConfigurationProblem> {
        Ok(match letter {
            '%' => "%".to_owned(),
            'C' => self.connection_digest(),
            'd' => self.home()?,
            'h' => self.hostname.to_owned(),
            'i' => self.environment.user_id.to_string(),
            'j' => self.jump.to_owned(),
            'k' => self.host_key_alias.to_owned(),
            'L' => self.environment.host.split('.').next().unwrap_or_default().to_owned(),
            'l' => self.environment.host.clone(),
            'n' => self.typed_host.to_owned(),
            'p' => self.port.to_string(),
            'r' => self.user.to_owned(),
            'u' => self.environment.user.clone(),
            other => unreachable!("the letter {other} was checked against the allowed ones"),
        })
    }

    /// `%C`: SHA-1 over local host, host, port, user and, as newer versions have it, the jump host
    fn connection_digest(&self) -> String {
        let text = format!(
            "{}{}{}{}{}",
            self.environment.host, self.hostname, self.port, self.user, self.jump
        );
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn rest_of_name(text: &str) -> &str {
    text.split('/').next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment {
            home: Some(PathBuf::from("/home/ann")),
            user: "ann".to_owned(),
            user_id: 1000,
            host: "desk.example".to_owned(),
            agent_socket: None,
            shell: "/bin/sh".into(),
        }
    }

    fn tokens(environment: &Environment) -> Tokens<'_> {
        Tokens {
            environment,
            typed_host: "box",
            hostname: "box.example",
            port: 2200,
            user: "bob",
            host_key_alias: "box",
            jump: "",
        }
    }

    #[test]
    fn file_names_expand_as_ssh_does_it() {
        let environment = environment();
        let tokens = tokens(&environment);
        for (text, expected) in [
            ("~/.ssh/%h_%r", "/home/ann/.ssh/box.example_bob"),
            ("~", "/home/ann"),
            ("%d/%n:%p", "/home/ann/box:2200"),
            ("/%u/%i/%l/%L/%%", "/ann/1000/desk.example/desk/%"),
            ("/no/token$", "/no/token$"),
        ] {
            assert_eq!(tokens.path("identityfile", text).unwrap(), PathBuf::from(expected));
        }
        for text in ["%z", "%", "${XFER_TEST_NO_SUCH_VARIABLE}", "~other/key"] {
            assert!(tokens.path("identityfile", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_proxy_command_keeps_what_belongs_to_the_shell() {
        let environment = environment();
        let tokens = tokens(&environment);
        let command = tokens.command("nc ${NC_FLAGS} %h %p %r %n %% $x").unwrap();
        assert_eq!(command, "nc ${NC_FLAGS} box.example 2200 bob box % $x");
        assert!(tokens.command("nc %u").is_err());
    }
}
