//! SSH, spoken by ourselves and configured as the `ssh` program is
//!
//! [`SshConnection::connect`] resolves what was typed as `ssh -G` does, dials (directly, through
//! jump hosts or a ProxyCommand), proves the host key against known_hosts, logs in with the agent's
//! and the user's keys, and then opens channels. One login serves many channels.
//!
//! Rules that hold everywhere below: a host is dialled by one attempt at a time, a full host is
//! asked again later and never sooner, nothing waits without a limit, and no byte of a peer reaches
//! a terminal or a shell unescaped.

mod agent;
mod algorithms;
mod authenticate;
mod channel;
mod config_parser;
mod connecting;
mod connection;
mod dial;
mod environment;
mod error;
mod handshake;
mod host_config;
mod host_key;
mod identity;
mod known_hosts;
mod lent;
mod login_refused;
mod options;
mod prompt;
mod settings;
mod system_resolver;
mod target;
mod tokens;
mod tuning;
mod wire;

pub use channel::{Exec, Output, StderrTail};
pub use config_parser::{HostBlock, host_blocks};
pub use connection::SshConnection;
pub use dial::Ends;
pub(crate) use environment::without_keys;
pub use error::{
    ChannelUse, ConfigurationProblem, HostKeyProblem, KeyProblem, ReachProblem, SshError,
    SshErrorClass, TargetProblem,
};
pub use handshake::HostKeyTrust;
pub use host_config::{
    AddressFamily, AlgorithmConfig, HostConfig, HostKeyConfig, IdentityConfig, IdentityFile,
    Liveness, RouteConfig, StrictHostKeyChecking, resolve,
};
pub use known_hosts::{ListedKey, listed_key};
pub use lent::LentKey;
pub use login_refused::{KeyOrigin, Listed, LoginRefused, OfferedKey};
pub use options::SshOptions;
pub use prompt::{
    HostKeyAnswer, HostKeyQuestion, NoPrompt, Passphrase, PassphraseQuestion, Prompt,
};
pub use target::SshTarget;
