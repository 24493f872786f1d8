//! Why there is no connection

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::login_refused::LoginRefused;

/// An error of the SSH transport
#[derive(Debug, Error)]
pub enum SshError {
    /// What was typed can not be a host
    #[error("{typed:?} can not be reached over ssh: {problem}")]
    Target {
        /// What was typed, a password removed
        typed: String,
        /// What is wrong with it
        problem: TargetProblem,
    },
    /// The ssh configuration can not be used
    #[error("ssh configuration for {host}: {problem}")]
    Configuration {
        /// The host as it was typed
        host: String,
        /// What is wrong with it
        problem: ConfigurationProblem,
    },
    /// A private key can not be used
    #[error("key {}: {problem}", path.display())]
    Key {
        /// The key file
        path: PathBuf,
        /// What is wrong with it
        problem: KeyProblem,
    },
    /// The host's identity is not proven
    #[error("{host} is not proven to be itself: {problem}")]
    HostKey {
        /// The name under which the host is looked up in known_hosts
        host: String,
        /// What is wrong
        problem: Box<HostKeyProblem>,
    },
    /// The host takes none of the keys
    #[error(transparent)]
    LoginRefused(Box<LoginRefused>),
    /// The host is there and takes no further logins for now
    #[error("{host} takes no further logins for now ({said}); tried {attempts} times")]
    Busy {
        /// Host and port
        host: String,
        /// What it said before it closed the connection
        said: String,
        /// How often it was dialled
        attempts: u32,
    },
    /// No connection came about
    #[error("{host} can not be reached: {problem}")]
    Unreachable {
        /// Host and port
        host: String,
        /// The reason
        problem: ReachProblem,
    },
    /// The connection was there and is gone
    #[error("the connection to {host} is lost: {reason}")]
    Lost {
        /// Host and port
        host: String,
        /// What the peer said, or what was noticed
        reason: String,
    },
    /// The peer and we do not speak alike
    #[error("{host} speaks ssh in a way that is not accepted: {reason}")]
    Protocol {
        /// Host and port
        host: String,
        /// What the protocol engine said
        reason: String,
    },
    /// The host opens no channel, or no further one: that says nothing of what it would run
    #[error("{host} opens no channel: {reason}")]
    NoChannel {
        /// Host and port
        host: String,
        /// Why not
        reason: String,
    },
    /// The host does not do in a channel what is asked
    #[error("{host} refuses to {wanted}: {reason}")]
    Channel {
        /// Host and port
        host: String,
        /// What was asked
        wanted: ChannelUse,
        /// Why not
        reason: String,
    },
    /// A command printed more than the caller allows
    #[error("a command on {host} printed more than {limit} bytes")]
    OutputTooLong {
        /// Host and port
        host: String,
        /// The limit in bytes
        limit: usize,
    },
}

/// The classes that a caller may act on; each has an exit code of its own
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshErrorClass {
    /// What was typed is wrong: exit 2
    Usage,
    /// A configuration or key file is wrong: exit 3
    Configuration,
    /// Network: exit 10, and worth another attempt
    Network,
    /// Authentication or the peer's identity: exit 11
    Authentication,
    /// Protocol, or no channel: exit 12
    Protocol,
}

impl SshError {
    /// The class of the error
    pub fn class(&self) -> SshErrorClass {
        match self {
            Self::Target { .. } => SshErrorClass::Usage,
            Self::Configuration { .. } | Self::Key { .. } => SshErrorClass::Configuration,
            Self::HostKey { .. } | Self::LoginRefused(_) => SshErrorClass::Authentication,
            Self::Busy { .. } | Self::Unreachable { .. } | Self::Lost { .. } => {
                SshErrorClass::Network
            }
            Self::Protocol { .. }
            | Self::NoChannel { .. }
            | Self::Channel { .. }
            | Self::OutputTooLong { .. } => SshErrorClass::Protocol,
        }
    }

    /// A stable name of the reason, for machines
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Target { .. } => "bad-host",
            Self::Configuration { .. } => "ssh-configuration",
            Self::Key { .. } => "key-file",
            Self::HostKey { problem, .. } => problem.reason(),
            Self::LoginRefused(_) => "key-refused",
            Self::Busy { .. } => "host-busy",
            Self::Unreachable { .. } => "host-unreachable",
            Self::Lost { .. } => "connection-lost",
            Self::Protocol { .. } => "ssh-protocol",
            Self::NoChannel { .. } | Self::Channel { .. } => "channel-refused",
            Self::OutputTooLong { .. } => "output-too-long",
        }
    }
}

/// What may be wrong with a typed host
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TargetProblem {
    /// Nothing before or after the `@`
    #[error("the host or the user is empty")]
    Empty,
    /// It would be read as an option
    #[error("it begins with a dash")]
    LeadingDash,
    /// A character that no host name and no user name carries
    #[error("{0:?} is not allowed in it")]
    Character(char),
    /// Longer than any name
    #[error("it is longer than {limit} bytes", limit = super::target::NAME_BYTES_MAX)]
    TooLong,
    /// Not a number from 1 to 65535
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// An IPv6 address needs both brackets
    #[error("an IPv6 address is written in brackets")]
    Brackets,
    /// Secrets do not belong on a command line
    #[error("a password does not belong in a location")]
    Password,
}

/// What may be wrong with the configuration
#[derive(Debug, Error)]
pub enum ConfigurationProblem {
    /// `ssh -G` refused it
    #[error("ssh says: {0}")]
    Refused(String),
    /// `ssh -G` did not end in time
    #[error("ssh -G did not answer in {0:?}")]
    TimedOut(Duration),
    /// `ssh -G` could not be run
    #[error("ssh could not be run: {0}")]
    NotRun(io::Error),
    /// A file can not be read
    #[error(transparent)]
    File(#[from] crate::disk::settings_file::SettingsFileError),
    /// A keyword that is understood has an impossible value
    #[error("{keyword} can not be {value:?}")]
    Value {
        /// The keyword
        keyword: String,
        /// Its value
        value: String,
    },
    /// A keyword that matters and is not implemented
    #[error("{keyword} is not supported by xfer{}", in_line(*line))]
    Unsupported {
        /// The keyword
        keyword: String,
        /// Where our own parser met it
        line: Option<usize>,
    },
    /// A line that is not a keyword and its value
    #[error("line {line}: {problem}")]
    Line {
        /// The line, counted from 1
        line: usize,
        /// What is wrong with it
        problem: &'static str,
    },
    /// Others could have written the file
    #[error("{} has a bad owner or permissions; chmod 600 it", path.display())]
    Permissions {
        /// The file
        path: PathBuf,
    },
    /// Nothing is left of a list of algorithms
    #[error("{keyword} leaves nothing that xfer implements")]
    NoAlgorithm {
        /// The keyword
        keyword: &'static str,
    },
    /// The jump hosts come back to where they were
    #[error("the jump hosts go in a circle at {0}")]
    JumpLoop(String),
    /// More jump hosts than anybody has
    #[error("more than {limit} jump hosts in a row", limit = super::tuning::JUMPS_MAX)]
    TooManyJumps,
    /// Neither `HOME` nor the user database names a home directory
    #[error("there is no home directory")]
    NoHome,
}

fn in_line(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

/// What may be wrong with a private key
#[derive(Debug, Error)]
pub enum KeyProblem {
    /// Missing, not a regular file, or not readable
    #[error("{0}")]
    File(crate::disk::settings_file::SettingsFileProblem),
    /// Others may read it
    #[error("its mode {mode:04o} lets others read it; chmod 600 it")]
    OpenToOthers {
        /// The permission bits
        mode: u32,
    },
    /// It belongs to somebody else
    #[error("it belongs to user {owner}, and others may read it")]
    NotOurs {
        /// The owner's user id
        owner: u32,
    },
    /// It is the public half
    #[error("it is a public key; the private one is needed")]
    Public,
    /// Empty
    #[error("it is empty")]
    Empty,
    /// A PuTTY file
    #[error("it is a PuTTY key; convert it: puttygen KEY -O private-openssh -o NEW")]
    Putty,
    /// Not a private key that can be read
    #[error("it is not a private key: {0}")]
    Malformed(String),
    /// DSA, a hardware key without an agent, or another kind that is not supported
    #[error("{0} keys are not supported")]
    Kind(String),
    /// An RSA key that is too short
    #[error("an RSA key of {bits} bits is shorter than the {required} that are required")]
    TooShort {
        /// Bits of the key
        bits: usize,
        /// Bits required by `RequiredRSASize`
        required: usize,
    },
    /// A passphrase is needed and nobody can be asked
    #[error("it has a passphrase and there is no terminal to ask for it; ssh-add it first")]
    NobodyToAsk,
    /// The passphrase does not open it
    #[error("the passphrase does not open it")]
    WrongPassphrase,
}

/// What may be wrong with a host key
#[derive(Debug, Error)]
pub enum HostKeyProblem {
    /// Not in any known_hosts file
    #[error("its {algorithm} key {fingerprint} is in no known_hosts file")]
    Unknown {
        /// The kind of key
        algorithm: String,
        /// `SHA256:…`
        fingerprint: String,
    },
    /// Another key is known
    #[error(
        "its {algorithm} key is {fingerprint}, and {}:{line} lists {expected}; somebody may stand \
         between, or the machine was made anew",
        path.display()
    )]
    Changed {
        /// The kind of key
        algorithm: String,
        /// `SHA256:…` of the key that the host shows
        fingerprint: String,
        /// `SHA256:…` of the key that is listed
        expected: String,
        /// The known_hosts file
        path: PathBuf,
        /// Its line, counted from 1
        line: usize,
        /// The name to remove
        entry: String,
    },
    /// A further connection is shown another key than the first was
    #[error(
        "its {algorithm} key is {fingerprint}, and it showed {expected} a moment ago: another \
         machine answers now"
    )]
    Another {
        /// The kind of key
        algorithm: String,
        /// `SHA256:…` of the key that it shows now
        fingerprint: String,
        /// `SHA256:…` of the key that it showed first
        expected: String,
    },
    /// Marked `@revoked`
    #[error("its {algorithm} key {fingerprint} is marked @revoked in {}:{line}", path.display())]
    Revoked {
        /// The kind of key
        algorithm: String,
        /// `SHA256:…`
        fingerprint: String,
        /// The known_hosts file
        path: PathBuf,
        /// Its line, counted from 1
        line: usize,
    },
    /// Only a certificate authority is listed
    #[error(
        "its {algorithm} key {fingerprint} is not listed, and the certificate authority of \
         {}:{line} can not be asked: host certificates are not supported",
        path.display()
    )]
    NeedsCertificate {
        /// The kind of key
        algorithm: String,
        /// `SHA256:…`
        fingerprint: String,
        /// The known_hosts file
        path: PathBuf,
        /// Its line, counted from 1
        line: usize,
    },
    /// The person at the terminal said no
    #[error("you did not accept its {algorithm} key {fingerprint}")]
    Declined {
        /// The kind of key
        algorithm: String,
        /// `SHA256:…`
        fingerprint: String,
    },
    /// It can not be remembered
    #[error("its key could not be added to {}: {error}", path.display())]
    NotRecorded {
        /// The known_hosts file
        path: PathBuf,
        /// Why
        error: io::Error,
    },
    /// A key shorter than `RequiredRSASize`
    #[error("its RSA key of {bits} bits is too short")]
    TooShort {
        /// Bits of the key
        bits: usize,
    },
}

impl HostKeyProblem {
    /// What to do about it, where something can be done from here
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => Some(
                "check the fingerprint; if it is right: repeat with \
                 -o StrictHostKeyChecking=accept-new"
                    .to_owned(),
            ),
            Self::Changed { entry, .. } => {
                Some(format!("find out why; if it is right: ssh-keygen -R '{entry}', and repeat"))
            }
            Self::Revoked { .. } => Some("do not connect; ask who runs that host".to_owned()),
            Self::NeedsCertificate { .. } => {
                Some("list the key itself in known_hosts, if the fingerprint is right".to_owned())
            }
            Self::Another { .. } => {
                Some("find out why it changed meanwhile; then repeat the same command".to_owned())
            }
            Self::Declined { .. } | Self::NotRecorded { .. } | Self::TooShort { .. } => None,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Unknown { .. } | Self::Declined { .. } => "host-key-unknown",
            Self::Changed { .. } | Self::Another { .. } => "host-key-changed",
            Self::Revoked { .. } => "host-key-revoked",
            Self::NeedsCertificate { .. } => "host-certificate-unsupported",
            Self::TooShort { .. } => "host-key-too-short",
            Self::NotRecorded { .. } => "known-hosts-file",
        }
    }
}

/// Why no connection came about
#[derive(Debug, Error)]
pub enum ReachProblem {
    /// The name has no address
    #[error("its name has no address: {0}")]
    Name(io::Error),
    /// No address answered
    #[error("{0}")]
    Dial(io::Error),
    /// Nothing in time
    #[error("no answer in {0:?}")]
    TimedOut(Duration),
    /// The proxy command did not start or ended
    #[error("the ProxyCommand failed: {0}")]
    ProxyCommand(String),
    /// The jump host does not forward
    #[error("the jump host {jump} does not forward to it: {reason}")]
    Forward {
        /// The jump host
        jump: String,
        /// What it said
        reason: String,
    },
    /// What answers is not sshd
    #[error("what answers there does not speak ssh: {0:?}")]
    NotSsh(String),
}

/// What a channel was wanted for
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelUse {
    /// A command
    Command,
    /// A subsystem such as sftp
    Subsystem,
}

impl std::fmt::Display for ChannelUse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Command => "run a command",
            Self::Subsystem => "start a subsystem",
        })
    }
}
