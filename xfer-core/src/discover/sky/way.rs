//! How a machine of a cluster is reached, by the file that SkyPilot writes for ssh.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::super::error::ApiProblem;
use super::super::{Configured, LoginPlace};
use crate::transport::ssh::{
    HostBlock, HostConfig, NoPrompt, SshOptions, SshTarget, host_blocks, resolve,
};

/// The variable that tells what the cluster is called on its cloud.
const NAME_ON_CLOUD: &str = "SKY_CLUSTER_NAME=";

/// Names below it are gateways of Vast's.
const VAST_DOMAIN: &str = ".vast.ai";

/// What the file says of a machine.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) login: LoginPlace,
    pub(super) name_on_cloud: Option<String>,
    /// Whether nothing but its address leads there.
    pub(super) is_plain: bool,
}

impl Way {
    /// Whether its address is one of Vast's gateways.
    pub(super) fn is_of_vast(&self) -> bool {
        let host = self.login.host.to_ascii_lowercase();
        host.trim_end_matches('.').ends_with(VAST_DOMAIN)
    }
}

/// Finds a machine in the file of its cluster; `None` where there is no file, or the file does not
/// have it.
///
/// # Errors
/// Where the file cannot be used as ssh would use it.
pub(super) async fn find(file: &Path, name: &str, seed: u64) -> Result<Option<Way>, ApiProblem> {
    let unusable = |what: String| ApiProblem::SshFile(format!("{}: {what}", file.display()));
    let blocks = host_blocks(file).map_err(|error| unusable(error.to_string()))?;
    let is_its = |block: &HostBlock| block.names.iter().any(|known| known == name);
    let Some(block) = blocks.unwrap_or_default().into_iter().find(is_its) else {
        return Ok(None);
    };
    let variable = |text: &String| text.strip_prefix(NAME_ON_CLOUD).map(str::to_owned);
    let name_on_cloud = block.variables.iter().find_map(variable);
    let mut options = SshOptions::new(Arc::new(NoPrompt), seed);
    options.config_file = Some(file.to_owned());
    let resolved = async {
        let config = resolve(&SshTarget::new(None, name, None)?, &options).await?;
        let end = end(&config, seed).await?;
        Ok((config, end))
    };
    let resolved: Result<_, crate::transport::ssh::SshError> = resolved.await;
    let (config, end) = resolved.map_err(|error| unusable(error.to_string()))?;
    let is_plain = matches!(end, End::Address);
    let (own_command, tunnel) = match end {
        End::Address => (None, None),
        End::Itself(command) => (Some(command), None),
        End::Tunnel(what) => (None, Some(what)),
    };
    let direct = tunnel.is_none();
    let configured =
        Configured { file: file.to_owned(), name: name.to_owned(), own_command, tunnel };
    let HostConfig { user, hostname: host, port, .. } = config;
    let login = LoginPlace { user, host, port, direct, configured: Some(configured) };
    Ok(Some(Way { login, name_on_cloud, is_plain }))
}

/// Where the bytes of a login go.
enum End {
    /// To its address.
    Address,
    /// Through this command, which ends at the machine's own sshd.
    Itself(String),
    /// Through what is named here.
    Tunnel(String),
}

async fn end(config: &HostConfig, seed: u64) -> Result<End, crate::transport::ssh::SshError> {
    if let Some(jump) = config.route.jumps.last() {
        return Ok(End::Tunnel(format!("the jump host {jump} of the cluster's configuration")));
    }
    let Some(command) = &config.route.proxy_command else { return Ok(End::Address) };
    let has = |word: &str| command.contains(word);
    if has("slurm-job-ssh-proxy") {
        return Ok(End::Tunnel("SkyPilot's tunnel through Slurm".to_owned()));
    }
    let kubernetes = ["websocket_proxy", "kubernetes", "kubectl", "port-forward", "port_forward"];
    if kubernetes.into_iter().any(has) {
        return Ok(End::Tunnel("SkyPilot's tunnel through the Kubernetes API".to_owned()));
    }
    let other = || End::Tunnel("a ProxyCommand of the cluster's configuration".to_owned());
    let Some(target) = within(config, command) else { return Ok(other()) };
    // The inner ssh reads the user's own configuration, and so may take a detour.
    let inner = resolve(&target, &SshOptions::new(Arc::new(NoPrompt), seed)).await?;
    let is_straight = inner.route.jumps.is_empty() && inner.route.proxy_command.is_none();
    Ok(if is_straight { End::Itself(command.clone()) } else { other() })
}

/// The machine whose own sshd a command of the form `ssh … -W localhost:PORT … USER@ADDRESS` dials,
/// for a container there. Whatever else it may do, it is none.
fn within(config: &HostConfig, command: &str) -> Option<SshTarget> {
    let is_loopback = match config.hostname.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => config.hostname == "localhost",
    };
    let words: Vec<_> = command.split_whitespace().collect();
    let (program, last) = (words.first()?, words.last()?);
    let is_ssh = Path::new(program).file_name().is_some_and(|name| name == "ssh");
    let (host, port) = (&config.hostname, config.port);
    let own = [format!("[{host}]:{port}"), format!("{host}:{port}")];
    let forwards = of_flag(&words, "-W").is_some_and(|to| own.iter().any(|own| own == to));
    let is_shell = command.contains(['|', ';', '&', '$', '`', '<', '>', '\n']);
    let is_it = is_loopback && is_ssh && forwards && !is_shell && !takes_a_detour(&words);
    is_it.then(|| last.parse().ok()).flatten()
}

/// Whether it is led by anything but its own words and the user's configuration.
fn takes_a_detour(words: &[&str]) -> bool {
    let names_one = |word: &&str| {
        let word = word.to_ascii_lowercase();
        word.contains("proxycommand") || word.contains("proxyjump")
    };
    let file = of_flag(words, "-F").is_some_and(|file| !matches!(file, "/dev/null" | "none"));
    file || of_flag(words, "-J").is_some() || words.iter().any(names_one)
}

/// The value of a flag, without the quotes that a shell takes off.
fn of_flag<'a>(words: &[&'a str], flag: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word.starts_with(flag))?;
    let attached = words[at].get(flag.len()..).filter(|rest| !rest.is_empty());
    let value = attached.or_else(|| words.get(at + 1).copied()).unwrap_or_default();
    Some(value.trim_matches(['\'', '"']))
}

#[cfg(test)]
mod tests;
