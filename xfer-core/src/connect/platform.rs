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
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use xfer_protocol::message::Request;

use super::platform_refusals::{api_error, no_login, not_running, not_the_machine};
use super::refusals::ssh_error;
use super::{Connected, Connector, Place, Proxy, RouteSource, unproven};
use crate::discover::{
    AccountSettings, Configured, DangerClock, Lambda, LoginPlace, MachineRow, MachineState,
    Platform, PlatformError, RunPod, SaysItself, Shown, Sky, SkySettings, Vast, VastSettings,
};
use crate::error::{
    AuthenticationReason, Failure, NetworkReason, Remedy, TransferError, UsageReason,
};
use crate::event::{Event, Route};
use crate::gate::evidence::HostKeyChannel;
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
    sky: OnceCell<Arc<Sky>>,
    runpod: OnceCell<Arc<RunPod>>,
    lambda: OnceCell<Arc<Lambda>>,
}

impl Platforms {
    /// Those that are asked with these settings, in place of the environment's.
    pub(super) fn with_vast(settings: VastSettings) -> Self {
        Self { vast_settings: Mutex::new(Some(settings)), ..Self::default() }
    }

    fn vast_settings(&self) -> VastSettings {
        let given = self.vast_settings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        given.unwrap_or_else(|| VastSettings::of_environment(|name| std::env::var_os(name)))
    }

    /// The machine that this process runs on, as far as it knows itself.
    pub(super) fn itself(&self, kind: PlatformKind) -> Option<MachineRow> {
        match kind {
            PlatformKind::Vast => self.vast_settings().itself(),
            PlatformKind::Sky | PlatformKind::RunPod | PlatformKind::Lambda => None,
        }
    }

    pub(super) async fn of(
        &self,
        kind: PlatformKind,
        connector: &Connector,
    ) -> Result<Arc<dyn Platform>, TransferError> {
        let (clock, seed) = (connector.clock(), connector.unique());
        let variable = |name: &str| std::env::var_os(name);
        let failed = |error| api_error(&format!("{}:", kind.name()), error);
        match kind {
            PlatformKind::Vast => {
                Ok(self.vast(connector).await.map_err(failed)? as Arc<dyn Platform>)
            }
            PlatformKind::Sky => {
                let make = async || {
                    let vast = self.vast(connector).await.map(|vast| vast as Arc<dyn Platform>);
                    Arc::new(Sky::new(SkySettings::of_environment(variable), vast, seed))
                };
                Ok(Arc::clone(self.sky.get_or_init(make).await) as Arc<dyn Platform>)
            }
            PlatformKind::RunPod => {
                let settings = AccountSettings::of_environment(RunPod::ACCOUNT, variable);
                let make = async || RunPod::new(&settings, clock, seed).map(Arc::new);
                let runpod = self.runpod.get_or_try_init(make).await.map_err(failed)?;
                Ok(Arc::clone(runpod) as Arc<dyn Platform>)
            }
            PlatformKind::Lambda => {
                let settings = AccountSettings::of_environment(Lambda::ACCOUNT, variable);
                let make = async || Lambda::new(&settings, clock, seed).map(Arc::new);
                let lambda = self.lambda.get_or_try_init(make).await.map_err(failed)?;
                Ok(Arc::clone(lambda) as Arc<dyn Platform>)
            }
        }
    }

    async fn vast(&self, connector: &Connector) -> Result<Arc<Vast>, PlatformError> {
        let make = async || {
            let settings = self.vast_settings();
            Vast::new(&settings, connector.clock(), connector.unique()).map(Arc::new)
        };
        self.vast.get_or_try_init(make).await.map(Arc::clone)
    }
}

/// A login that is proven to be on the machine.
pub(super) struct Reached {
    pub(super) login: SshConnection,
    /// What passes its bytes on, where they do not go there straight.
    pub(super) proxy: Option<Proxy>,
    /// Whether a command that leads there ends at the machine's own sshd.
    pub(super) is_own_command: bool,
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
    pub fn machines<'a>(
        &'a self,
        platform: PlatformKind,
    ) -> BoxFuture<'a, Result<Vec<MachineRow>, TransferError>> {
        Box::pin(async move {
            let asked = self.platforms.of(platform, self).await?;
            asked.list().await.map_err(|error| api_error(&format!("{}:", platform.name()), error))
        })
    }

    /// One machine of a platform as it is now.
    ///
    /// # Errors
    /// Where the platform cannot be asked, or the machine is gone.
    pub fn machine<'a>(
        &'a self,
        machine: &'a PlatformMachine,
    ) -> BoxFuture<'a, Result<MachineRow, TransferError>> {
        Box::pin(async move {
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
        })
    }

    pub(super) async fn platform(
        &self,
        machine: &PlatformMachine,
        options: &TransferOptions,
        ahead: &[Request],
    ) -> Result<Connected, TransferError> {
        let reached = self.reach(machine).await?;
        let start = self.start(options);
        let is_direct = reached.is_own_command || reached.login.is_direct();
        let connected = self.beyond(reached.place, reached.login, start, options, ahead).await;
        let mut connected = connected.map_err(|error| with_ports_advice(error, &reached.row))?;
        connected.notices.splice(0..0, reached.notices);
        let direct = is_direct && reached.proxy.is_none();
        connected.route = connected.route.map(|route| Route { direct, ..route });
        // Until it was pinned, nothing was sent there.
        let host_key = Some(HostKeyChannel::PlatformPinned);
        let (proxy, rented) = (reached.proxy, Some(reached.row));
        Ok(Connected { proxy, rented, host_key, ..connected })
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
            match self.log_in(machine, row, way).await {
                Ok((login, mut notices)) => {
                    notices.extend(dangers(row, self.clock.now().seconds));
                    let place = self.rented_place(machine, row);
                    let why = || [row.lacking.clone(), failed].concat();
                    let name = machine.to_string();
                    let is_own_command = is_own_command(way, &login);
                    let proxy = match way.direct {
                        true if is_own_command => None,
                        true => Proxy::of(&name, &login),
                        false => Some(Proxy::of_platform(&name, way, why())),
                    };
                    let row = Box::new(row.clone());
                    return Ok(Reached { login, proxy, is_own_command, place, notices, row });
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
        row: &MachineRow,
        way: &LoginPlace,
    ) -> Result<(SshConnection, Vec<String>), TransferError> {
        let place = format!("{machine} ({}@{}:{})", way.user, way.host, way.port);
        let failed = |error| ssh_error(&place, error);
        let mut options = self.pinning(machine)?;
        let dialled = match &way.configured {
            Some(configured) => as_configured(&mut options, configured, way),
            None => &way.host,
        };
        let target = SshTarget::new(Some(&way.user), dialled, Some(way.port)).map_err(failed)?;
        let login = SshConnection::connect(&target, &options).await.map_err(failed)?;
        let trust = login.host_key_trust();
        if trust == HostKeyTrust::Changed {
            let failure = Failure::new(place, AuthenticationReason::HostKeyChanged);
            return Err(changed(machine, failure));
        }
        let is_known = trust == HostKeyTrust::Known;
        let notices = login.hops().nth(1).map(unproven).unwrap_or_default();
        let pinned = |why: &str| {
            let fingerprint = login.pin_host_key().map_err(failed)?;
            let notice = format!(
                "{machine}: host key {fingerprint} pinned: {}:{} is where the platform says that \
                 it is, and {why}",
                way.host, way.port
            );
            Ok::<_, TransferError>([vec![notice], notices.clone()].concat())
        };
        let Some(says) = &row.says else {
            if is_known {
                return Ok((login, notices));
            }
            let notices = pinned("nothing there says which machine it is")?;
            return Ok((login, notices));
        };
        let asked = said_name(&login, says, self.unique());
        let said = tokio::time::timeout(SAYS_WITHIN, asked).await.unwrap_or(Ok(None));
        match said.map_err(failed)? {
            // Images that bring their host key share it, so the key alone proves no machine.
            said if is_known && said.as_ref().is_none_or(|said| *said == says.value) => {
                Ok((login, notices))
            }
            Some(said) if said == says.value => {
                let notices = pinned("it says so itself")?;
                Ok((login, notices))
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
        DangerClock::IdleEnds { minutes, destroys } => {
            let what = if *destroys { "destroyed" } else { "stopped" };
            let cluster = row.machine.name().unwrap_or_default();
            Some(format!(
                "{machine} is {what} after {minutes} min in which no work is queued there, and a \
                 copy is none: sky autostop --cancel {cluster}"
            ))
        }
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

/// Whether the command of a login is that which its row knows to end at the machine's own sshd, and
/// not one that the user chose.
fn is_own_command(way: &LoginPlace, login: &SshConnection) -> bool {
    let own = way.configured.as_ref().and_then(|configured| configured.own_command.as_ref());
    own.is_some() && login.config().route.proxy_command.as_ref() == own
}

/// Has a login be made as its file tells, at the place that its row tells; what it is called there.
fn as_configured<'a>(
    options: &mut SshOptions,
    configured: &'a Configured,
    way: &LoginPlace,
) -> &'a str {
    options.config_file = Some(configured.file.clone());
    options.options.insert(0, format!("HostName={}", way.host));
    &configured.name
}

/// A port cannot be opened while a cluster is there: where one was needed, how the next has one.
pub(super) fn with_ports_advice(error: TransferError, row: &MachineRow) -> TransferError {
    let is_closed = row.machine.platform == PlatformKind::Sky && row.ports.is_empty();
    match error {
        TransferError::Network(failure)
            if is_closed && failure.reason == NetworkReason::NoDataPort =>
        {
            let text = "the cluster opened no port; its YAML opens one when it is launched: \
                        resources: {ports: [8081]}";
            TransferError::Network(failure.next(Remedy::text(text)))
        }
        error => error,
    }
}

/// The name under which its host key is kept: addresses go from one machine to another.
pub(super) fn alias(machine: &PlatformMachine) -> Result<String, TransferError> {
    let mut alias = format!("{}-", machine.platform.name());
    for character in named(machine)?.chars() {
        // Names of hosts are compared without regard to case, and clusters' are not.
        if character.is_ascii_uppercase() {
            alias.push('+');
        }
        alias.push(character.to_ascii_lowercase());
    }
    Ok(alias)
}

/// The machine of such a name.
pub(super) fn of_alias(alias: &str) -> Option<PlatformMachine> {
    let (platform, rest) = alias.split_once('-')?;
    let kind = PlatformKind::ALL.into_iter().find(|kind| kind.name() == platform)?;
    let (mut name, mut is_upper) = (String::new(), false);
    for character in rest.chars() {
        match character {
            '+' if !is_upper => is_upper = true,
            letter if std::mem::take(&mut is_upper) => name.push(letter.to_ascii_uppercase()),
            letter => name.push(letter),
        }
    }
    Some(PlatformMachine::named(kind, name))
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
    says: &SaysItself,
    unique: u64,
) -> Result<Option<String>, crate::transport::ssh::SshError> {
    let mark = format!("xfer-name-{unique:016x}");
    let name = says.variable;
    let script = format!(
        "sh -c 'echo {mark}; tr \"\\000\" \"\\n\" </proc/1/environ 2>/dev/null | \
         sed -n \"s/^{name}=/=/p\" | head -n 1; \
         sed -n \"s/^\\(export \\)*{name}=/=/p\" /etc/environment /etc/rp_environment ~/.bashrc \
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
    fn a_pinned_name_leads_back_to_its_machine_alone() {
        let cluster = |name: &str| PlatformMachine::named(PlatformKind::Sky, name);
        for (machine, expected) in [
            (PlatformMachine::named(PlatformKind::Vast, "33402296"), "vast-33402296"),
            (cluster("train-worker1"), "sky-train-worker1"),
            (cluster("Train.B_c"), "sky-+train.+b_c"),
            (cluster("train"), "sky-train"),
        ] {
            let alias = alias(&machine).unwrap();
            assert_eq!(alias, expected);
            assert_eq!(of_alias(&alias), Some(machine));
        }
        assert_eq!(of_alias("host"), None);
        assert_eq!(of_alias("other-1"), None);
    }

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
