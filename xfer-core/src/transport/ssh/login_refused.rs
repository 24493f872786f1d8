//! The text that a person reads when a host takes none of the keys

use std::fmt;
use std::path::PathBuf;

use super::target::host_and_port;

/// A host refused every key that could be offered
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRefused {
    /// The login name
    pub user: String,
    /// The host's name or address
    pub host: String,
    /// The port
    pub port: u16,
    /// The location that the person typed, when it says more than user, host and port
    pub location: Option<String>,
    /// Keys that were offered, in order
    pub offered: Vec<OfferedKey>,
    /// Keys that were there and not offered, because the host stopped listening
    pub untried: Vec<OfferedKey>,
    /// How many keys the host looked at before it stopped, when it did
    pub attempts_allowed: Option<usize>,
    /// Keys that can not be used, with the reason
    pub unusable: Vec<(KeyOrigin, String)>,
    /// Ways to log in that the host names, as `publickey`
    pub methods: Vec<String>,
    /// Keys that the host is said to let in, where somebody knows
    pub listed: Option<Listed>,
    /// Further things to do, of the layers above; lines after the first explain
    pub remedies: Vec<String>,
}

/// Keys that a host is said to let in
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Who says so
    pub by: &'static str,
    /// Each as `SHA256:…`, with what its owner calls it; or why nobody knows
    pub keys: Result<Vec<(String, String)>, String>,
}

/// A key and where it came from
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedKey {
    /// `SHA256:…`
    pub fingerprint: String,
    /// Where it came from
    pub origin: KeyOrigin,
}

/// Where a key came from
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOrigin {
    /// A file
    File(PathBuf),
    /// The ssh-agent, which calls it so
    Agent(String),
}

impl fmt::Display for KeyOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display().to_string().escape_debug()),
            Self::Agent(comment) => write!(formatter, "ssh-agent {comment:?}"),
        }
    }
}

impl std::error::Error for LoginRefused {}

impl fmt::Display for LoginRefused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, host, port, .. } = self;
        write!(formatter, "login refused: {user}@{}", host_and_port(host, *port))?;
        if let Some(location) = &self.location {
            write!(formatter, " ({location})")?;
        }
        match (self.offered.is_empty(), self.takes_passwords()) {
            (true, _) => write!(formatter, " takes a key, and there is none to offer.")?,
            (false, false) => {
                write!(formatter, " accepts none of your keys. There is no password.")?;
            }
            (false, true) => write!(
                formatter,
                " accepts none of your keys. It would take a password; xfer asks for none."
            )?,
        }
        self.write_offered(formatter)?;
        for (origin, reason) in &self.unusable {
            write!(formatter, "\n  not used  {origin}: {reason}")?;
        }
        self.write_listed(formatter)?;
        self.write_remedies(formatter)
    }
}

impl LoginRefused {
    fn takes_passwords(&self) -> bool {
        let passwords = ["password", "keyboard-interactive"];
        self.methods.iter().any(|method| passwords.contains(&method.as_str()))
    }

    fn write_offered(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.offered.iter().enumerate() {
            let label = if index == 0 { "offered " } else { "        " };
            write!(formatter, "\n  {label}  {}  {}", key.fingerprint, key.origin)?;
        }
        match (self.untried.len(), self.attempts_allowed) {
            (0, _) => Ok(()),
            (untried, Some(allowed)) => write!(
                formatter,
                "   ({untried} more not tried: the server stops after {allowed}; use -i)"
            ),
            (untried, None) => write!(formatter, "   ({untried} more not tried; use -i)"),
        }
    }

    fn write_listed(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Listed { by, keys }) = &self.listed else { return Ok(()) };
        let keys = match keys {
            Ok(keys) if keys.is_empty() => return write!(formatter, "\n  listed    none   ({by})"),
            Ok(keys) => keys,
            Err(why) => {
                let why = why.escape_debug();
                return write!(formatter, "\n  listed    unknown   ({by}: {why})");
            }
        };
        for (index, (fingerprint, comment)) in keys.iter().enumerate() {
            let label = if index == 0 { "listed  " } else { "        " };
            write!(formatter, "\n  {label}  {fingerprint}  {comment:?}")?;
            if self.offered.iter().any(|key| key.fingerprint == *fingerprint) {
                write!(formatter, "  offered: it has not reached the machine, or not yet")?;
            }
            if index == 0 {
                write!(formatter, "   ({by})")?;
            }
        }
        Ok(())
    }

    fn write_remedies(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = self.listed.as_ref().and_then(|listed| listed.keys.as_ref().ok());
        let which = if listed.is_some_and(|keys| keys.len() == 1) { "THE" } else { "A" };
        let mut remedies = vec![format!("repeat with -i PATH_OF_{which}_LISTED_KEY")];
        remedies.extend(self.remedies.iter().cloned());
        if self.remedies.is_empty() {
            remedies.push(format!("add yours there: {}", self.copy_command()));
        }
        for (index, remedy) in remedies.iter().enumerate() {
            let label = if index == 0 { "do one of" } else { "         " };
            let mut lines = remedy.lines();
            write!(formatter, "\n  {label} {}  {}", index + 1, lines.next().unwrap_or_default())?;
            for line in lines {
                write!(formatter, "\n               {line}")?;
            }
        }
        Ok(())
    }

    fn copy_command(&self) -> String {
        let file = self.offered.iter().find_map(|key| match &key.origin {
            KeyOrigin::File(path) => Some(path.display().to_string()),
            KeyOrigin::Agent(_) => None,
        });
        let key = file.map(|path| format!("-i '{}' ", path.escape_debug())).unwrap_or_default();
        format!("ssh-copy-id {key}-p {} {}@{}", self.port, self.user, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fingerprint: &str, origin: KeyOrigin) -> OfferedKey {
        OfferedKey { fingerprint: fingerprint.to_owned(), origin }
    }

    fn refused() -> LoginRefused {
        LoginRefused {
            user: "root".to_owned(),
            host: "65.130.162.74".to_owned(),
            port: 33526,
            location: None,
            offered: vec![
                key("SHA256:Ab3", KeyOrigin::File(PathBuf::from("/home/u/.ssh/id_ed25519"))),
                key("SHA256:9fQ", KeyOrigin::Agent("work-laptop".to_owned())),
            ],
            untried: vec![key("SHA256:xyz", KeyOrigin::Agent("other".to_owned()))],
            attempts_allowed: Some(6),
            unusable: Vec::new(),
            methods: vec!["publickey".to_owned()],
            listed: None,
            remedies: Vec::new(),
        }
    }

    #[test]
    fn the_text_says_what_was_offered_and_what_to_do() {
        let expected = [
            "login refused: root@65.130.162.74:33526 accepts none of your keys. \
             There is no password.",
            "  offered   SHA256:Ab3  /home/u/.ssh/id_ed25519",
            "            SHA256:9fQ  ssh-agent \"work-laptop\"   \
             (1 more not tried: the server stops after 6; use -i)",
            "  do one of 1  repeat with -i PATH_OF_A_LISTED_KEY",
            "            2  add yours there: ssh-copy-id -i '/home/u/.ssh/id_ed25519' \
             -p 33526 root@65.130.162.74",
        ];
        assert_eq!(refused().to_string().lines().collect::<Vec<_>>(), expected);
    }

    /// The model of the contract.
    #[test]
    fn a_platform_tells_which_keys_are_listed() {
        let mut refused = refused();
        refused.location = Some("vast:33402296".to_owned());
        let by = "Vast API";
        let bob = ("SHA256:Zz1".to_owned(), "bob@velocity".to_owned());
        refused.listed = Some(Listed { by, keys: Ok(vec![bob.clone()]) });
        refused.remedies = vec!["add yours to this instance: command\n(the whole line)".to_owned()];
        let expected = [
            "login refused: root@65.130.162.74:33526 (vast:33402296) accepts none of your keys. \
             There is no password.",
            "  offered   SHA256:Ab3  /home/u/.ssh/id_ed25519",
            "            SHA256:9fQ  ssh-agent \"work-laptop\"   \
             (1 more not tried: the server stops after 6; use -i)",
            "  listed    SHA256:Zz1  \"bob@velocity\"   (Vast API)",
            "  do one of 1  repeat with -i PATH_OF_THE_LISTED_KEY",
            "            2  add yours to this instance: command",
            "               (the whole line)",
        ];
        assert_eq!(refused.to_string().lines().collect::<Vec<_>>(), expected);
        let ours = ("SHA256:9fQ".to_owned(), "\u{1b}[2J".to_owned());
        refused.listed = Some(Listed { by, keys: Ok(vec![bob, ours]) });
        let text = refused.to_string();
        let line = "            SHA256:9fQ  \"\\u{1b}[2J\"  offered: it has not reached the \
                    machine, or not yet";
        assert!(text.lines().any(|said| said == line), "{text}");
        for (keys, line) in [
            (Ok(Vec::new()), "  listed    none   (Vast API)"),
            (Err("no\nkey".to_owned()), "  listed    unknown   (Vast API: no\\nkey)"),
        ] {
            refused.listed = Some(Listed { by, keys });
            let text = refused.to_string();
            assert!(text.lines().any(|said| said == line), "{text}");
        }
    }

    #[test]
    fn names_from_an_agent_can_not_drive_the_terminal() {
        let mut refused = refused();
        refused.offered[1].origin = KeyOrigin::Agent("\u{1b}[2J\u{9b}\n".to_owned());
        refused
            .unusable
            .push((KeyOrigin::File(PathBuf::from("/x\u{1b}[0m")), "it is empty".to_owned()));
        let text = refused.to_string();
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'));
        assert_eq!(text.lines().count(), 6);
    }
}
