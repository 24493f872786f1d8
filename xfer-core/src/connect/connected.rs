//! What connecting comes to: a live endpoint, and how it was reached.

use std::sync::{Arc, OnceLock, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::direct::{self, Now, Outcome};
use super::logins::Told;
use super::proxy::Proxy;
use crate::agent::bootstrap::BootstrapError;
use crate::discover::MachineRow;
use crate::endpoint::object::ObjectEndpoint;
use crate::endpoint::object::store::patience::Patient;
use crate::endpoint::remote::RemoteEndpoint;
use crate::endpoint::sftp::SftpEndpoint;
use crate::endpoint::web::WebEndpoint;
use crate::endpoint::{Sink, Source};
use crate::event::{Route, Toll};
use crate::gate::evidence::HostKeyChannel;
use crate::transport::ssh::SshConnection;

/// A live endpoint and how it was reached.
pub struct Connected {
    /// What the machine is called; nothing for this one.
    pub(super) place: String,
    /// As a source.
    pub source: Arc<dyn Source>,
    /// The same as a sink.
    pub sink: Arc<dyn Sink>,
    /// The route; `None` for this machine.
    pub route: Option<Route>,
    /// What the user should know of how it was reached.
    pub notices: Vec<String>,
    /// What passes the bytes of its login on, where something does.
    pub(crate) proxy: Option<Proxy>,
    /// What its platform tells of it, where one rents it out.
    pub(crate) rented: Option<Box<MachineRow>>,
    /// How the host key was proven; nothing where nobody proved any.
    pub(crate) host_key: Option<HostKeyChannel>,
    pub(super) far: Far,
    pub(super) told: Told,
    /// The route to data ports that carries payload now.
    pub(super) now: Now,
    /// The way on which payload leads to the other end, or comes from there, and not through here.
    pub(super) passage: OnceLock<Route>,
    /// Tells whether the first route is decided.
    pub(super) outcome: Option<watch::Receiver<Outcome>>,
    /// Ends with the endpoint.
    pub(super) _keep: Keep,
}

/// What lies at the other end of a link.
pub(super) enum Far {
    Nothing,
    Agent(Arc<RemoteEndpoint>),
    Sftp(Arc<SftpEndpoint>),
    Store(Arc<Patient>, Arc<ObjectEndpoint>),
    Web(Arc<WebEndpoint>),
}

/// What must live as long as an endpoint.
pub(super) enum Keep {
    Nothing,
    Logins { first: SshConnection, _further: JoinSet<()> },
    Peer { _tasks: JoinSet<()> },
    Process { _process: tokio::process::Child },
}

/// What is reached by requests alone.
pub(crate) enum Asked<'a> {
    Store(&'a Arc<Patient>),
    Web(&'a Arc<WebEndpoint>),
}

impl Connected {
    /// What requests alone reach, where it is that.
    pub(crate) fn asked(&self) -> Option<Asked<'_>> {
        match &self.far {
            Far::Store(store, _) => Some(Asked::Store(store)),
            Far::Web(endpoint) => Some(Asked::Web(endpoint)),
            Far::Nothing | Far::Agent(_) | Far::Sftp(_) => None,
        }
    }

    /// An endpoint of this process.
    pub fn here<E: Source + Sink + 'static>(endpoint: Arc<E>) -> Self {
        Self::of(Arc::clone(&endpoint) as Arc<dyn Source>, endpoint)
    }

    /// Endpoints of this process, one to read from and one to write to.
    pub fn of(source: Arc<dyn Source>, sink: Arc<dyn Sink>) -> Self {
        Self {
            place: String::new(),
            source,
            sink,
            route: None,
            notices: Vec::new(),
            proxy: None,
            rented: None,
            // No host is in between.
            host_key: Some(HostKeyChannel::KnownHosts),
            far: Far::Nothing,
            told: Told::default(),
            now: Now::default(),
            passage: OnceLock::new(),
            outcome: None,
            _keep: Keep::Nothing,
        }
    }

    /// The route with which payload begins; `None` where that was told as it was found.
    #[must_use]
    pub fn route_untold(&self) -> Option<Route> {
        let is_told = self.now.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        self.route.clone().filter(|_| !is_told)
    }

    /// The route with the streams that carry payload by now.
    #[must_use]
    pub fn route_now(&self) -> Option<Route> {
        if let Some(route) = self.passage.get() {
            return Some(route.clone());
        }
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut route = now.or_else(|| self.route.clone())?;
        match &self.far {
            Far::Agent(remote) => route.streams = remote.payload_streams().max(1),
            Far::Store(patient, _) => route.streams = patient.streams(),
            Far::Nothing | Far::Sftp(_) | Far::Web(_) => {}
        }
        Some(route)
    }

    /// What the user should know that happened since; each is told once.
    #[must_use]
    pub fn later_notices(&self) -> Vec<String> {
        let mut told =
            std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
        if let Far::Web(endpoint) = &self.far {
            told.extend(endpoint.later_notices());
        }
        told
    }

    /// What its platform takes for bytes that leave it, or come to it.
    pub(crate) fn toll(&self, out: bool) -> Option<Toll> {
        let row = self.rented.as_ref()?;
        let per_gb = if out { row.prices.out_per_gb } else { row.prices.in_per_gb };
        let (machine, per_hour) = (row.machine.to_string(), row.prices.running_per_hour);
        Some(Toll { machine, out, per_gb, per_hour })
    }

    /// Whether a data port may still be found for it.
    pub(crate) fn seeks_data_ports(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether what is there already is read over the link to be compared.
    pub(crate) fn compares_over_link(&self) -> bool {
        matches!(self.far, Far::Sftp(_))
    }

    /// The proxy that payload crosses now.
    pub(crate) fn proxy_now(&self) -> Option<&Proxy> {
        let is_beside = self.now.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        self.proxy.as_ref().filter(|_| !is_beside && self.passage.get().is_none())
    }

    /// Waits until it is decided which route payload takes first.
    pub async fn decided(&self) {
        if let Some(mut outcome) = self.outcome.clone() {
            direct::decided(&mut outcome).await;
        }
    }

    /// Bytes on the wire beside payload.
    #[must_use]
    pub fn overhead_bytes(&self) -> u64 {
        match &self.far {
            Far::Nothing | Far::Store(..) | Far::Web(_) => 0,
            Far::Agent(remote) => remote.overhead_bytes(),
            Far::Sftp(sftp) => sftp.overhead_bytes(),
        }
    }

    /// Bytes of payload that compression kept from the link.
    #[must_use]
    pub fn shrunk_bytes(&self) -> u64 {
        match &self.far {
            Far::Agent(remote) => remote.shrunk_bytes(),
            Far::Nothing | Far::Sftp(_) | Far::Store(..) | Far::Web(_) => 0,
        }
    }

    /// The same with the notice that it is a fallback, and why.
    pub(super) fn instead_of_agent(mut self, place: &str, error: &BootstrapError) -> Self {
        let notice = format!(
            "{place}: no program may be run there ({error}); over SFTP, what is there already is \
             read back over the link to be compared"
        );
        self.notices.insert(0, notice);
        self
    }
}

/// One at the far end of a session.
pub(super) fn connected(remote: Arc<RemoteEndpoint>, route: Route, keep: Keep) -> Connected {
    let source = Arc::clone(&remote) as Arc<dyn Source>;
    let sink = Arc::clone(&remote) as Arc<dyn Sink>;
    let (far, told, now) = (Far::Agent(remote), Told::default(), Now::default());
    let (route, notices) = (Some(route), Vec::new());
    let (proxy, rented, host_key, outcome) = (None, None, None, None);
    let (place, passage, _keep) = (String::new(), OnceLock::new(), keep);
    Connected {
        place,
        source,
        sink,
        route,
        notices,
        proxy,
        rented,
        host_key,
        far,
        told,
        now,
        passage,
        outcome,
        _keep,
    }
}
