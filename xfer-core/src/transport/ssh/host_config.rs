//! What a host means: the resolved configuration in the form that the rest of the transport reads

use std::path::PathBuf;
use std::time::Duration;

use super::config_parser;
use super::environment::Environment;
use super::error::{ConfigurationProblem, SshError};
use super::options::SshOptions;
use super::settings::Settings;
use super::system_resolver;
use super::target::{SshTarget, host_and_port, parse_port};
use super::tokens::Tokens;
use super::tuning::{JUMPS_MAX, KEEPALIVE_AFTER, KEEPALIVES_UNANSWERED_MAX};

/// A resolved host
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// The host as it was typed
    pub typed_host: String,
    /// The name or address to dial
    pub hostname: String,
    /// The port
    pub port: u16,
    /// The login name
    pub user: String,
    /// Which keys are offered
    pub identity: IdentityConfig,
    /// Which host keys are believed
    pub host_key: HostKeyConfig,
    /// How the host is reached
    pub route: RouteConfig,
    /// Which algorithms may be used
    pub algorithms: AlgorithmConfig,
}

/// Which keys are offered
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityConfig {
    /// Key files, in order
    pub files: Vec<IdentityFile>,
    /// Only keys that are named here, even if the agent holds more
    pub only_listed: bool,
    /// The agent's socket
    pub agent: Option<PathBuf>,
}

/// A key file of the configuration
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFile {
    /// Where it is
    pub path: PathBuf,
    /// It was asked for with `-i`, so it must be there and usable
    pub required: bool,
}

/// Which host keys are believed
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyConfig {
    /// What happens with an unknown key
    pub checking: StrictHostKeyChecking,
    /// The user's known_hosts files; new keys go into the first
    pub user_files: Vec<PathBuf>,
    /// The system's known_hosts files
    pub global_files: Vec<PathBuf>,
    /// The name under which the host is looked up, in place of its own
    pub alias: Option<String>,
    /// Names are hashed when a key is added
    pub hash_names: bool,
}

/// `StrictHostKeyChecking`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrictHostKeyChecking {
    /// Unknown and changed keys are refused
    Yes,
    /// Unknown keys are shown to a person
    Ask,
    /// Unknown keys are added, changed ones refused
    AcceptNew,
    /// Nothing is refused; the host's identity is unproven
    Off,
}

/// How the host is reached
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// Jump hosts, the nearest first
    pub jumps: Vec<SshTarget>,
    /// A command whose stdin and stdout are the connection, tokens expanded
    pub proxy_command: Option<String>,
    /// Which addresses are tried
    pub address_family: AddressFamily,
    /// The local address to dial from
    pub bind_address: Option<String>,
    /// `ConnectTimeout`
    pub connect_timeout: Option<Duration>,
    /// When a silent host counts as dead
    pub liveness: Liveness,
}

/// When a silent host counts as dead
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    /// Silence after which it is asked; `ServerAliveInterval` where that is shorter than ours
    pub ask_after: Duration,
    /// Questions in a row that may stay unanswered
    pub unanswered_max: usize,
}

impl Liveness {
    /// Time after which a dead host is given up
    pub fn noticed_within(self) -> Duration {
        let questions = u32::try_from(self.unanswered_max).unwrap_or(u32::MAX);
        self.ask_after.saturating_mul(questions.saturating_add(1))
    }
}

/// `AddressFamily`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    /// All addresses
    Any,
    /// IPv4 only
    V4,
    /// IPv6 only
    V6,
}

/// Which algorithms may be used; an empty list allows all that are implemented
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlgorithmConfig {
    /// `Ciphers`
    pub ciphers: Vec<String>,
    /// `KexAlgorithms`
    pub key_exchanges: Vec<String>,
    /// `MACs`
    pub macs: Vec<String>,
    /// `HostKeyAlgorithms`
    pub host_keys: Vec<String>,
    /// `PubkeyAcceptedAlgorithms`
    pub public_keys: Vec<String>,
    /// `RequiredRSASize`, in bits
    pub rsa_bits_min: usize,
}

/// Keywords whose meaning would change who is trusted or how the host is reached, and which are not
/// implemented
const UNSUPPORTED: [&str; 4] =
    ["knownhostscommand", "bindinterface", "certificatefile", "revokedhostkeys"];

/// Resolves a host as `ssh -G` does it
///
/// With no ssh installed our own parser reads the same files, and refuses what it does not
/// implement.
pub async fn resolve(target: &SshTarget, options: &SshOptions) -> Result<HostConfig, SshError> {
    let failed = |problem| SshError::Configuration { host: target.host().to_owned(), problem };
    check_options(options).map_err(failed)?;
    let environment = Environment::current();
    let settings = match system_resolver::resolve(target, options).await.map_err(failed)? {
        Some(settings) => settings,
        None => config_parser::resolve(target, options, &environment).map_err(failed)?,
    };
    HostConfig::from_settings(&settings, target, options, &environment).map_err(failed)
}

impl HostConfig {
    /// User, host and port, as people write them
    pub fn place(&self) -> String {
        format!("{}@{}", self.user, self.host_and_port())
    }

    /// Host and port, as people write them
    pub fn host_and_port(&self) -> String {
        host_and_port(&self.hostname, self.port)
    }

    pub(super) fn from_settings(
        settings: &Settings,
        target: &SshTarget,
        options: &SshOptions,
        environment: &Environment,
    ) -> Result<Self, ConfigurationProblem> {
        refuse_unsupported(settings)?;
        let hostname = settings.first("hostname").unwrap_or_else(|| target.host());
        let user = settings.first("user").unwrap_or(&environment.user);
        let port_text = settings.first("port").unwrap_or("22");
        let port = parse_port(port_text).map_err(|_| wrong("port", port_text))?;
        SshTarget::new(None, hostname, None).map_err(|_| wrong("hostname", hostname))?;
        SshTarget::new(Some(user), hostname, None).map_err(|_| wrong("user", user))?;
        let alias = settings.named("hostkeyalias");
        let jumps = jumps(settings)?;
        let tokens = Tokens {
            environment,
            typed_host: target.host(),
            hostname,
            port,
            user,
            host_key_alias: alias.unwrap_or_else(|| target.host()),
            jump: settings.named("proxyjump").unwrap_or_default(),
        };
        Ok(Self {
            typed_host: target.host().to_owned(),
            hostname: hostname.to_owned(),
            port,
            user: user.to_owned(),
            identity: identity(settings, options, &tokens)?,
            host_key: host_key(settings, &tokens)?,
            route: route(settings, jumps, &tokens)?,
            algorithms: algorithms(settings)?,
        })
    }
}

fn wrong(keyword: &str, value: &str) -> ConfigurationProblem {
    ConfigurationProblem::Value { keyword: keyword.to_owned(), value: value.to_owned() }
}

fn check_options(options: &SshOptions) -> Result<(), ConfigurationProblem> {
    if let Some(jump) = &options.jump {
        parse_jumps(jump)?;
    }
    for option in &options.options {
        if option.contains(['\n', '\0']) {
            return Err(wrong("-o", option));
        }
    }
    Ok(())
}

fn refuse_unsupported(settings: &Settings) -> Result<(), ConfigurationProblem> {
    for keyword in UNSUPPORTED {
        if settings.named(keyword).is_some() {
            return Err(ConfigurationProblem::Unsupported {
                keyword: keyword.to_owned(),
                line: None,
            });
        }
    }
    if settings.is_yes("proxyusefdpass") {
        return Err(ConfigurationProblem::Unsupported {
            keyword: "proxyusefdpass".to_owned(),
            line: None,
        });
    }
    match settings.first("pubkeyauthentication") {
        Some(value @ ("no" | "false")) => Err(wrong("pubkeyauthentication", value)),
        _ => Ok(()),
    }
}

fn jumps(settings: &Settings) -> Result<Vec<SshTarget>, ConfigurationProblem> {
    settings.named("proxyjump").map_or(Ok(Vec::new()), parse_jumps)
}

/// Reads `HOST,HOST…`, each `[user@]host[:port]` or an `ssh://` URI, or `none`
fn parse_jumps(text: &str) -> Result<Vec<SshTarget>, ConfigurationProblem> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Vec::new());
    }
    let hop = |text: &str| {
        let text = text.strip_prefix("ssh://").unwrap_or(text);
        text.strip_suffix('/').unwrap_or(text).parse()
    };
    let jumps: Result<Vec<SshTarget>, SshError> = text.split(',').map(hop).collect();
    let jumps = jumps.map_err(|_| wrong("proxyjump", text))?;
    if jumps.len() > JUMPS_MAX {
        return Err(ConfigurationProblem::TooManyJumps);
    }
    Ok(jumps)
}

fn identity(
    settings: &Settings,
    options: &SshOptions,
    tokens: &Tokens<'_>,
) -> Result<IdentityConfig, ConfigurationProblem> {
    let mut files: Vec<IdentityFile> = options
        .identities
        .iter()
        .map(|path| IdentityFile { path: path.clone(), required: true })
        .collect();
    let typed: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    for text in settings.all("identityfile").filter(|text| !text.eq_ignore_ascii_case("none")) {
        if typed.iter().any(|path| path == text) {
            continue;
        }
        let path = tokens.path("identityfile", text)?;
        if !files.iter().any(|file| file.path == path) {
            files.push(IdentityFile { path, required: false });
        }
    }
    Ok(IdentityConfig {
        files,
        only_listed: settings.is_yes("identitiesonly"),
        agent: agent_socket(settings, tokens)?,
    })
}

fn agent_socket(
    settings: &Settings,
    tokens: &Tokens<'_>,
) -> Result<Option<PathBuf>, ConfigurationProblem> {
    let from_environment = || tokens.environment.agent_socket.clone().map(PathBuf::from);
    Ok(match settings.first("identityagent") {
        None | Some("SSH_AUTH_SOCK") => from_environment(),
        Some(value) if value.eq_ignore_ascii_case("none") => None,
        Some(value) => match value.strip_prefix('$').filter(|name| !name.starts_with('{')) {
            Some(name) => Environment::variable(name).map(PathBuf::from),
            None => Some(tokens.path("identityagent", value)?),
        },
    })
}

fn host_key(
    settings: &Settings,
    tokens: &Tokens<'_>,
) -> Result<HostKeyConfig, ConfigurationProblem> {
    let files = |keyword: &str| -> Result<Vec<PathBuf>, ConfigurationProblem> {
        settings.paths(keyword).iter().map(|text| tokens.path(keyword, text)).collect()
    };
    let checking = settings.first("stricthostkeychecking").unwrap_or("ask");
    Ok(HostKeyConfig {
        checking: match checking {
            "yes" | "true" => StrictHostKeyChecking::Yes,
            "ask" => StrictHostKeyChecking::Ask,
            "accept-new" => StrictHostKeyChecking::AcceptNew,
            "no" | "off" | "false" => StrictHostKeyChecking::Off,
            other => return Err(wrong("stricthostkeychecking", other)),
        },
        user_files: files("userknownhostsfile")?,
        global_files: files("globalknownhostsfile")?,
        alias: settings.named("hostkeyalias").map(str::to_owned),
        hash_names: settings.is_yes("hashknownhosts"),
    })
}

fn route(
    settings: &Settings,
    jumps: Vec<SshTarget>,
    tokens: &Tokens<'_>,
) -> Result<RouteConfig, ConfigurationProblem> {
    // When both are set, ssh lets the one win that stands first; `ssh -G` prints the winner alone.
    let proxy_command = settings.named("proxycommand").filter(|_| jumps.is_empty());
    let family = settings.first("addressfamily").unwrap_or("any");
    Ok(RouteConfig {
        jumps,
        proxy_command: proxy_command.map(|text| tokens.command(text)).transpose()?,
        address_family: match family {
            "any" => AddressFamily::Any,
            "inet" => AddressFamily::V4,
            "inet6" => AddressFamily::V6,
            other => return Err(wrong("addressfamily", other)),
        },
        bind_address: settings.named("bindaddress").map(str::to_owned),
        connect_timeout: settings
            .number("connecttimeout")?
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        liveness: liveness(settings)?,
    })
}

/// The configuration may make us more impatient, not more patient
fn liveness(settings: &Settings) -> Result<Liveness, ConfigurationProblem> {
    let ours = Liveness { ask_after: KEEPALIVE_AFTER, unanswered_max: KEEPALIVES_UNANSWERED_MAX };
    let interval = settings.number("serveraliveinterval")?.map(Duration::from_secs);
    let Some(ask_after) = interval.filter(|interval| !interval.is_zero()) else {
        return Ok(ours);
    };
    let count = settings.number("serveralivecountmax")?.unwrap_or(3).clamp(1, 3);
    let unanswered_max = usize::try_from(count).unwrap_or(KEEPALIVES_UNANSWERED_MAX);
    let theirs = Liveness { ask_after, unanswered_max };
    Ok(if theirs.noticed_within() < ours.noticed_within() { theirs } else { ours })
}

fn algorithms(settings: &Settings) -> Result<AlgorithmConfig, ConfigurationProblem> {
    let bits = settings.number("requiredrsasize")?.unwrap_or(1024);
    Ok(AlgorithmConfig {
        ciphers: settings.list("ciphers"),
        key_exchanges: settings.list("kexalgorithms"),
        macs: settings.list("macs"),
        host_keys: settings.list("hostkeyalgorithms"),
        public_keys: settings.list("pubkeyacceptedalgorithms"),
        rsa_bits_min: usize::try_from(bits)
            .map_err(|_| wrong("requiredrsasize", &bits.to_string()))?,
    })
}
