//! What passes the bytes of a login on, and whose it is.

use super::direct::is_proxy;
use crate::discover::LoginPlace;
use crate::transport::ssh::SshConnection;

/// Something between here and a machine that all bytes of its login cross, and that is neither the
/// machine's own nor a jump host that the user chose.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    /// The machine behind it.
    pub(crate) place: String,
    /// What it is.
    pub(crate) name: String,
    /// Whether it is a platform's, and so the machine a rented one.
    pub(crate) is_of_platform: bool,
    /// Why payload would take it.
    pub(crate) why: Vec<String>,
    /// How the next machine is had without one, where that is known.
    pub(crate) next_machine: Option<&'static str>,
}

const DIRECT_OFFER: &str = "an offer with direct_port_count>=1, created with --direct";

const OPEN_PORT: &str = "a cluster that opens a port: resources: {ports: [8081]}";

impl Proxy {
    /// That of a login, where one is known to be in between.
    pub(super) fn of(place: &str, login: &SshConnection) -> Option<Self> {
        let hops = || login.hops().map(|hop| hop.config());
        let gateway = hops().find(|config| is_proxy(&config.hostname));
        if let Some(config) = gateway {
            let name = gateway_name(&config.host_and_port());
            let why =
                vec!["a login to *.vast.ai ends at a gateway, which passes bytes on".to_owned()];
            let (place, next_machine) = (place.to_owned(), Some(DIRECT_OFFER));
            return Some(Self { place, name, is_of_platform: true, why, next_machine });
        }
        hops().find(|config| config.route.proxy_command.is_some()).map(|config| Self {
            place: place.to_owned(),
            is_of_platform: false,
            name: format!("a ProxyCommand ({})", config.host_and_port()),
            why: vec![
                "the far end of that command is not known to be the machine's own".to_owned(),
            ],
            next_machine: None,
        })
    }

    /// That which a platform names as its own.
    pub(super) fn of_platform(place: &str, way: &LoginPlace, why: Vec<String>) -> Self {
        let tunnel = way.configured.as_ref().and_then(|configured| configured.tunnel.clone());
        let at = format!("{}:{}", way.host, way.port);
        let (name, next) = match tunnel {
            Some(tunnel) => (format!("{tunnel} ({at})"), OPEN_PORT),
            None => (gateway_name(&at), DIRECT_OFFER),
        };
        let (place, next_machine) = (place.to_owned(), Some(next));
        Self { place, name, is_of_platform: true, why, next_machine }
    }
}

fn gateway_name(place: &str) -> String {
    format!("Vast's SSH proxy ({place})")
}
