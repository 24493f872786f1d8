//! From a platform's machine to a login that is proven to be on it.
//!
//! Its state and its ways in are looked up each time. What answers there says, over that very
//! connection, which machine it is, and is believed by the host key that was pinned for that
//! machine before; at first contact by its word alone, and then its key is pinned. Until then
//! nothing is sent to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OnceCell;
use xfer_protocol::message::Request;

use super::platform_refusals::{api_error, no_login, not_running, not_the_machine};
use super::refusals::ssh_error;
use super::{Connected, Connector, Place, Proxy, RouteSource, unproven};
use crate::discover::{
    DangerClock, LoginPlace, MachineRow, MachineState, Platform, Shown, Vast, VastSettings,
};
use crate::error::{
    AuthenticationReason, Failure, NetworkReason, Remedy, TransferError, UsageReason,
};
use crate::event::{Event, Route};
use crate::location::{LocationError, LocationReason, PlatformKind, PlatformMachine, Which};
use crate::options::{MappedPort, TransferOptions};
use crate::transport::ssh::{HostKeyTrust, SshConnection, SshOptions, SshTarget};

/// Time in which a machine says what it is: a shell that waits for somebody never does.
const SAYS_WITHIN: Duration = Duration::from_secs(15);

/// An end of a contract within that time is told.
const SOON_SECONDS: i64 = 24 * 3600;

/// How old a machine is that counts as new, and for how long it is tried again. A server punishes
/// refused logins with five seconds each.
const NEW_SECONDS: i64 = 15 * 60;
const KEYS_SPREAD_WITHIN: Duration = Duration::from_secs(180);
const NEW_PAUSE: Duration = Duration::from_secs(10);

/// Bytes of what a machine says of itself, noise of its shell included.
const SAID_MAX: usize = 64 << 10;

/// The file of host keys that belong to machines of platforms, in the state directory.
pub(super) const PINS: &str = "known_hosts";

/// Platforms as they are asked, each made when it is first needed.
#[derive(Default)]
pub(super) struct Platforms {
    vast_settings: Mutex<Option<VastSettings>>,
    vast: OnceCell<Arc<Vast>>,
}

impl Platforms {
    /// Those that are asked with these settings, in place of the environment's.
    pub(super) fn with_vast(settings: VastSettings) -> Self {
        Self { vast_settings: Mutex::new(Some(settings)), vast: OnceCell::new() }
    }

    fn vast_settings(&self) -> VastSettings {
        let given = self.vast_settings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        given.unwrap_or_else(|| VastSettings::of_environment(|name| std::env::var_os(name)))
    }

    /// The machine that this process runs on, as far as it knows itself.
    pub(super) fn itself(&self, kind: PlatformKind) -> Option<MachineRow> {
        match kind {
            PlatformKind::Vast => self.vast_settings().itself(),
        }
    }

    pub(super) async fn of(
        &self,
        kind: PlatformKind,
        connector: &Connector,
    ) -> Result<Arc<dyn Platform>, TransferError> {
        match kind {
            PlatformKind::Vast => {
                let make = async || {
                    let settings = self.vast_settings();
                    Vast::new(&settings, connector.clock(), connector.unique()).map(Arc::new)
                };
                let vast = self.vast.get_or_try_init(make).await;
                let vast = vast.map_err(|error| api_error("vast:", error))?;
                Ok(Arc::clone(vast) as Arc<dyn Platform>)
            }
        }
    }
}

/// A login that is proven to be on the machine.
pub(super) struct Reached {
    pub(super) login: SshConnection,
    /// What passes its bytes on, where they do not go there straight.
    pub(super) proxy: Option<Proxy>,
    pub(super) place: Place,
    pub(super) notices: Vec<String>,
    /// What the platform told of the machine.
    pub(super) row: Box<MachineRow>,
}

impl Connector {
    /// Every machine of a platform.
    ///
    /// # Errors
    /// Where the platform cannot be asked, or its list is not known to be complete.
    pub async fn machines(&self, platform: PlatformKind) -> Result<Vec<MachineRow>, TransferError> {
        let asked = self.platforms.of(platform, self).await?;
        asked.list().await.map_err(|error| api_error(&format!("{}:", platform.name()), error))
    }

    /// One machine of a platform as it is now.
    ///
    /// # Errors
    /// Where the platform cannot be asked, or the machine is gone.
    pub async fn machine(&self, machine: &PlatformMachine) -> Result<MachineRow, TransferError> {
        if machine.which == Which::Itself {
            return self.itself(machine.platform).await.map(|itself| itself.row);
        }
        let name = named(machine)?;
        let asked = self.platforms.of(machine.platform, self).await?;
        let shown =
            asked.show(name).await.map_err(|error| api_error(&machine.to_string(), error))?;
        match shown {
            Shown::Present(row) => Ok(*row),
            Shown::Gone => Err(not_running(&machine.to_string(), None)),
        }
    }

    pub(super) async fn platform(
        &self,
        machine: &PlatformMachine,
        options: &TransferOptions,
        ahead: &[Request],
    ) -> Result<Connected, TransferError> {
        let reached = self.reach(machine).await?;
        let (start, is_direct) = (self.start(options), reached.login.is_direct());
        let mut connected =
            self.beyond(reached.place, reached.login, start, options, ahead).await?;
        connected.notices.splice(0..0, reached.notices);
        let direct = is_direct && reached.proxy.is_none();
        connected.route = connected.route.map(|route| Route { direct, ..route });
        Ok(Connected { proxy: reached.proxy, rented: Some(reached.row), ..connected })
    }

    /// Logs in where the platform says that the machine is, direct ways first, and has it proven.
    pub(super) async fn reach(&self, machine: &PlatformMachine) -> Result<Reached, TransferError> {
        let row = self.machine(machine).await?;
        if !matches!(row.state, MachineState::Running | MachineState::Stopping) {
            return Err(not_running(&machine.to_string(), Some(&row)));
        }
        let until = self.clock.elapsed() + KEYS_SPREAD_WITHIN;
        let mut is_told = false;
        loop {
            let error = match self.reach_by(machine, &row).await {
                Ok(reached) => return Ok(reached),
                Err(error) => error,
            };
            let age = self.clock.now().seconds - row.started.unwrap_or_default();
            let may_pass = (0..NEW_SECONDS).contains(&age) && is_of_a_new_machine(&error);
            if !may_pass || self.clock.elapsed() >= until {
                return Err(self.with_listed_keys(machine, &row, error).await);
            }
            if !std::mem::replace(&mut is_told, true) {
                let text = format!("{machine} is new, and tried again for a while: {error}");
                self.observer.observe(&Event::Notice(text));
            }
            tokio::time::sleep(NEW_PAUSE).await;
        }
    }

    async fn reach_by(
        &self,
        machine: &PlatformMachine,
        row: &MachineRow,
    ) -> Result<Reached, TransferError> {
        let (mut last, mut failed) = (None, Vec::new());
        for way in &row.logins {
            match self.log_in(machine, way).await {
                Ok((login, mut notices)) => {
                    notices.extend(dangers(row, self.clock.now().seconds));
                    let place = self.rented_place(machine, row);
                    let why = || [row.lacking.clone(), failed].concat();
                    let name = machine.to_string();
                    let proxy = if way.direct {
                        Proxy::of(&name, &login)
                    } else {
                        Some(Proxy::of_platform(&name, way, why()))
                    };
                    let row = Box::new(row.clone());
                    return Ok(Reached { login, proxy, place, notices, row });
                }
                Err(error) => {
                    failed.push(error.to_string());
                    last = Some(graver(last, error));
                }
            }
        }
        Err(last.unwrap_or_else(|| no_login(&machine.to_string(), &row.lacking)))
    }

    /// Ports are fixed when a machine is made: where there is none, nobody is asked again.
    fn rented_place(&self, machine: &PlatformMachine, row: &MachineRow) -> Place {
        let source = PlatformPorts {
            connector: self.clone(),
            machine: machine.clone(),
            known: Mutex::new(Some(row.ports.clone())),
        };
        let source = (!row.ports.is_empty()).then(|| Arc::new(source) as Arc<dyn RouteSource>);
        Place { name: machine.to_string(), source, is_rented: true }
    }

    async fn log_in(
        &self,
        machine: &PlatformMachine,
        way: &LoginPlace,
    ) -> Result<(SshConnection, Vec<String>), TransferError> {
        let place = format!("{machine} ({}@{}:{})", way.user, way.host, way.port);
        let container = container(machine)?;
        let failed = |error| ssh_error(&place, error);
        let target = SshTarget::new(Some(way.user), &way.host, Some(way.port)).map_err(failed)?;
        let login =
            SshConnection::connect(&target, &self.pinning(machine)?).await.map_err(failed)?;
        let trust = login.host_key_trust();
        if trust == HostKeyTrust::Changed {
            let failure = Failure::new(place, AuthenticationReason::HostKeyChanged);
            return Err(changed(machine, failure));
        }
        let is_known = trust == HostKeyTrust::Known;
        let asked = tokio::time::timeout(SAYS_WITHIN, said_name(&login, self.unique())).await;
        let said = asked.unwrap_or(Ok(None)).map_err(failed)?;
        let notices = login.hops().nth(1).map(unproven).unwrap_or_default();
        match said {
            // Images that bring their host key share it, so the key alone proves no machine.
            said if is_known && said.as_ref().is_none_or(|said| *said == container) => {
                Ok((login, notices))
            }
            Some(said) if said == container => {
                let fingerprint = login.pin_host_key().map_err(failed)?;
                let notice = format!(
                    "{machine}: host key {fingerprint} pinned: {}:{} is where the platform says \
                     that it is, and it says so itself",
                    way.host, way.port
                );
                Ok((login, [vec![notice], notices].concat()))
            }
            said => Err(not_the_machine(&place, said.as_deref())),
        }
    }

    /// The options of a login whose host key is looked up under the machine's name, and is not
    /// believed for being new: proof follows.
    fn pinning(&self, machine: &PlatformMachine) -> Result<SshOptions, TransferError> {
        let mut options = self.ssh.clone();
        let pins = self.pins()?;
        let checking = if wants_strict_keys(&options.options) { "yes" } else { "no" };
        // The first value of a keyword counts: no other may lead a key past its proof.
        let ours = [
            format!("HostKeyAlias={}", alias(machine)?),
            format!("UserKnownHostsFile=\"{pins}\""),
            format!("StrictHostKeyChecking={checking}"),
        ];
        options.options.splice(0..0, ours);
        options.port = None;
        Ok(options)
    }

    fn pins(&self) -> Result<String, TransferError> {
        let directory = self.state_directory().map_err(|error| self.unusable(error))?;
        Ok(directory.path_of(PINS).display().to_string())
    }
}

/// Tells where a machine's data ports are dialled.
struct PlatformPorts {
    connector: Connector,
    machine: PlatformMachine,
    /// What the platform said just now; it is asked again once that was told.
    known: Mutex<Option<Vec<MappedPort>>>,
}

#[async_trait]
impl RouteSource for PlatformPorts {
    async fn mapped_ports(&self) -> Result<Vec<MappedPort>, String> {
        if let Some(ports) = self.known.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(ports);
        }
        let row = self.connector.machine(&self.machine).await.map_err(|error| error.to_string())?;
        Ok(row.ports)
    }
}

/// What may end the machine while bytes move.
pub(super) fn dangers(row: &MachineRow, now: i64) -> Vec<String> {
    let machine = &row.machine;
    let stopping =
        (row.state == MachineState::Stopping).then(|| format!("{machine} is about to be stopped"));
    let clocks = row.clocks.iter().filter_map(|clock| match clock {
        DangerClock::ContractEnds(second) => {
            let left = second.saturating_sub(now);
            let hours = left.div_euclid(3600);
            (left < SOON_SECONDS).then(|| match hours {
                ..0 => format!("the contract of {machine} is over: it may be gone any moment"),
                0 => format!("the contract of {machine} ends within the hour"),
                _ => format!("the contract of {machine} ends in {hours} h"),
            })
        }
        DangerClock::Interruptible => Some(format!(
            "{machine} may be stopped by a higher bid at any moment; the same command goes on"
        )),
        DangerClock::DiskIsPaidFor => None,
    });
    stopping.into_iter().chain(clocks).collect()
}

/// Whether a machine that was just made may fail so: its sshd starts late, and takes keys later.
fn is_of_a_new_machine(error: &TransferError) -> bool {
    match error {
        TransferError::Authentication(failure) => {
            failure.reason == AuthenticationReason::KeyRefused
        }
        TransferError::Network(failure) => failure.reason == NetworkReason::Unreachable,
        _ => false,
    }
}

/// The one of two failed ways in that is told: somebody else at the address before a refused login,
/// and that before silence.
fn graver(before: Option<TransferError>, error: TransferError) -> TransferError {
    let rank = |error: &TransferError| match error {
        TransferError::Authentication(failure) => match failure.reason {
            AuthenticationReason::KeyRefused => 1,
            _ => 2,
        },
        _ => 0,
    };
    match before {
        Some(before) if rank(&before) >= rank(&error) => before,
        _ => error,
    }
}

/// What the machine's own environment calls it.
fn container(machine: &PlatformMachine) -> Result<String, TransferError> {
    match machine.platform {
        PlatformKind::Vast => Ok(format!("C.{}", named(machine)?)),
    }
}

/// The name under which its host key is kept: addresses go from one machine to another.
pub(super) fn alias(machine: &PlatformMachine) -> Result<String, TransferError> {
    Ok(format!("{}-{}", machine.platform.name(), named(machine)?))
}

pub(super) fn named(machine: &PlatformMachine) -> Result<&str, TransferError> {
    let reason = match &machine.which {
        Which::Named(name) => return Ok(name),
        Which::All => LocationReason::MachineMissing,
        Which::Itself => LocationReason::NotOnMachine,
    };
    let text = machine.to_string().into_bytes();
    Err(UsageReason::from(LocationError { text, reason }).into())
}

/// Asks what the machine is called by its platform. The environment of its first process says so,
/// which also holds secrets: only the one line leaves it.
async fn said_name(
    login: &SshConnection,
    unique: u64,
) -> Result<Option<String>, crate::transport::ssh::SshError> {
    let mark = format!("xfer-name-{unique:016x}");
    let script = format!(
        "sh -c 'echo {mark}; tr \"\\000\" \"\\n\" </proc/1/environ 2>/dev/null | \
         sed -n \"s/^VAST_CONTAINERLABEL=/=/p\" | head -n 1; \
         sed -n \"s/^\\(export \\)*VAST_CONTAINERLABEL=/=/p\" /etc/environment ~/.bashrc \
         2>/dev/null | head -n 1; echo {mark}'"
    );
    let said = login.run(script, Bytes::new(), SAID_MAX).await?.stdout;
    Ok(name_in(&String::from_utf8_lossy(&said), &mark))
}

/// The first name between two marks; what a login script prints stands around them.
fn name_in(said: &str, mark: &str) -> Option<String> {
    let (_, rest) = said.split_once(mark)?;
    let (between, _) = rest.split_once(mark)?;
    let name = between.lines().find_map(|line| line.strip_prefix('='))?;
    Some(name.trim().trim_matches(['"', '\'']).to_owned())
}

/// Whether the first word on strict host keys says that none is pinned.
fn wants_strict_keys(options: &[String]) -> bool {
    let values = options.iter().filter_map(|option| {
        let (keyword, value) = option.trim().split_once(['=', ' ', '\t'])?;
        let is_it = keyword.trim().eq_ignore_ascii_case("StrictHostKeyChecking");
        is_it.then(|| value.trim_matches(['=', ' ', '\t', '"']).to_ascii_lowercase())
    });
    values.take(1).any(|value| value == "yes" || value == "true")
}

fn changed(machine: &PlatformMachine, failure: Failure<AuthenticationReason>) -> TransferError {
    let why = "the machine was made anew under the same name, or somebody else answers at its \
               address; nothing was sent there";
    let argv = ["xfer", "hosts", "forget", &machine.to_string()].map(str::to_owned).to_vec();
    let text = format!("if you made it anew: {}", argv.join(" "));
    let remedy = Remedy { text, argv };
    TransferError::Authentication(failure.detail("why", why).next(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_between_two_marks() {
        for (said, expected) in [
            ("m\n=C.7\nm\n", Some("C.7")),
            ("Welcome\n=C.8\nm\n=C.7\n=C.9\nm\nbye", Some("C.7")),
            ("m\n=\"C.7\"\nm\n", Some("C.7")),
            ("m\nm\n", None),
            ("m\n=C.7\n", None),
            ("=C.7\n", None),
            ("", None),
        ] {
            assert_eq!(name_in(said, "m\n").as_deref(), expected, "{said:?}");
        }
    }
}
