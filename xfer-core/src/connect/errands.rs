//! Between a far machine and a store, or what is public: payload takes the machine's own link.
//!
//! The machine asks with requests that are signed here one by one; no key is given to it. Where it
//! does not reach the other end, or cannot be told how, payload passes here.

use std::net::IpAddr;
use std::sync::Arc;

use super::connected::Far;
use super::{Connected, Connector};
use crate::endpoint::errands::Porter;
use crate::endpoint::object::ObjectEndpoint;
use crate::endpoint::passage::{FromStore, Passage, Public, ToStore};
use crate::endpoint::remote::RemoteEndpoint;
use crate::endpoint::web::WebEndpoint;
use crate::event::{Event, Route};
use crate::location::{Location, Machine, Which};
use crate::options::{TransferOptions, Via};

/// How payload goes between a far machine and what no machine of ours has.
pub(crate) enum OwnLink {
    /// These are no such two.
    Other,
    /// By here; why.
    Here(String),
    /// By the machine's own link, as far as a plan finds out.
    Planned,
    /// By the machine's own link.
    Open(Passage),
}

/// A store, or what is public.
enum Open<'a> {
    Objects(&'a Arc<ObjectEndpoint>),
    Web(&'a Arc<WebEndpoint>),
}

/// The two ends, and which of them is the machine.
struct Pair<'a> {
    machine: &'a Connected,
    other: &'a Connected,
    is_source: bool,
}

impl Connector {
    /// Opens the way by the machine's own link, where there is one machine, and one such other
    /// end.
    pub(crate) async fn own_link(
        &self,
        froms: (&[Location], &[Connected]),
        (to, sink): (&Location, &Connected),
        options: &TransferOptions,
        plan_only: bool,
    ) -> OwnLink {
        let (Some(is_source), Some(source)) = (meets(froms.0, to), froms.1.first()) else {
            return OwnLink::Other;
        };
        if options.network.via == Via::Here {
            return OwnLink::Here("as --via here asks".to_owned());
        }
        if froms.1.len() > 1 {
            return OwnLink::Here("as there is more than one source".to_owned());
        }
        let (machine, other) = if is_source { (source, sink) } else { (sink, source) };
        let opened = self.open_link(&Pair { machine, other, is_source }, options, plan_only).await;
        opened.unwrap_or_else(OwnLink::Here)
    }

    /// # Errors
    /// Why payload has to pass here.
    async fn open_link(
        &self,
        pair: &Pair<'_>,
        options: &TransferOptions,
        plan_only: bool,
    ) -> Result<OwnLink, String> {
        let Pair { machine, other, is_source } = pair;
        let (remote, open) = (pair.remote()?, pair.open()?);
        if plan_only {
            return Ok(OwnLink::Planned);
        }
        let errands = Arc::clone(remote) as Arc<_>;
        let porter = Porter::new(errands, machine.place.clone(), options.retry.stall);
        let passage = match open {
            Open::Objects(objects) => {
                let tried = objects.try_from_there(&porter).await;
                tried.map_err(|error| unreached(pair, &error.to_string()))?;
                match is_source {
                    true => Passage::ToStore(ToStore::new(porter, Arc::clone(objects))),
                    false => {
                        let from = Public::Objects(Arc::clone(objects));
                        Passage::FromStore(FromStore::new(porter, from, Arc::clone(remote)))
                    }
                }
            }
            Open::Web(web) => {
                let may = web.try_from_there(&porter).await;
                if !may.map_err(|error| unreached(pair, &error))? {
                    let why = "of its address, which may be a key that lasts, or has no ranges";
                    return Err(format!("because {why}"));
                }
                let from = Public::Web(Arc::clone(web));
                Passage::FromStore(FromStore::new(porter, from, Arc::clone(remote)))
            }
        };
        let route = other.route.clone().unwrap_or_else(Route::local);
        for end in [machine, other] {
            let _once = end.passage.set(route.clone());
        }
        let told = match is_source {
            true => format!("{} sends its files to {}", machine.place, other.place),
            false => format!("{} fetches the files of {}", machine.place, other.place),
        };
        let told = format!("{told} by its own link; none of them passes this machine");
        self.observer.observe(&Event::Notice(told));
        self.observer.observe(&Event::Route(route));
        Ok(OwnLink::Open(passage))
    }
}

impl<'a> Pair<'a> {
    fn remote(&self) -> Result<&'a Arc<RemoteEndpoint>, String> {
        match &self.machine.far {
            Far::Agent(remote) if remote.runs_errands() => Ok(remote),
            Far::Agent(_) => {
                Err(format!("as the xfer on {} is older than this one", self.machine.place))
            }
            _ => Err(format!("as no xfer runs on {}", self.machine.place)),
        }
    }

    fn open(&self) -> Result<Open<'a>, String> {
        match &self.other.far {
            Far::Store(_, objects) if !objects.is_asked_by_others() => {
                Err(format!("as nobody can ask {} without its keys", self.other.place))
            }
            Far::Store(patient, objects) => match objects_host(&**patient) {
                Some(host) if is_of_here(&host) => {
                    Err(format!("as {} is asked on this machine itself", self.other.place))
                }
                _ => Ok(Open::Objects(objects)),
            },
            Far::Web(web) => match web.host() {
                None => Err("as the hub's digests are checked here".to_owned()),
                Some(host) if is_of_here(&host) => {
                    Err(format!("as {} is asked on this machine itself", self.other.place))
                }
                Some(_) => Ok(Open::Web(web)),
            },
            _ => Err(format!("as nobody else can ask {}", self.other.place)),
        }
    }
}

pub(super) fn objects_host(store: &dyn crate::endpoint::object::store::Store) -> Option<String> {
    let address = store.address()?.parse::<http::Uri>().ok()?;
    Some(address.host()?.to_owned())
}

fn unreached(pair: &Pair<'_>, why: &str) -> String {
    format!("as {} cannot ask {} itself: {why}", pair.machine.place, pair.other.place)
}

/// Whether a far machine is at one end and a store, or what is public, at the other; whether the
/// machine is the source.
fn meets(from: &[Location], to: &Location) -> Option<bool> {
    let is_far = |machine: &Machine| match machine {
        Machine::Peer(_) | Machine::Ssh(_) => Some(true),
        Machine::Platform(machine) if machine.which == Which::Itself => None,
        Machine::Platform(_) => Some(true),
        Machine::Store(_) | Machine::Rclone(_) | Machine::Web(_) | Machine::Hub(_) => Some(false),
        Machine::Local => None,
    };
    let to = is_far(&to.machine)?;
    from.iter().any(|from| is_far(&from.machine) == Some(!to)).then_some(!to)
}

/// Whether a host's name is one that every machine has for itself, or for what is beside it.
pub(super) fn is_of_here(host: &str) -> bool {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    match name.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_unspecified() || v4.is_link_local(),
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_meets_a_store() {
        let location = |text: &&str| Location::parse(text.as_bytes()).unwrap();
        for (from, to, expected) in [
            (&["a:/x"][..], "s3://bucket/p", Some(true)),
            (&["vast:7:/x"], "gs://bucket/p", Some(true)),
            (&["s3://bucket/p"], "a:/x", Some(false)),
            (&["https://h.org/f"], "xfer://h:1/r", Some(false)),
            (&["hf://o/m"], "a:/x", Some(false)),
            (&["/x"], "s3://bucket/p", None),
            (&["s3://bucket/p"], "/x", None),
            (&["vast:self:/x"], "s3://bucket/p", None),
            (&["a:/x"], "b:/x", None),
            (&["s3://bucket/p"], "s3://other/p", None),
        ] {
            let from: Vec<_> = from.iter().map(location).collect();
            assert_eq!(meets(&from, &location(&to)), expected, "{from:?} {to}");
        }
    }

    #[test]
    fn what_every_machine_calls_itself_is_asked_from_here() {
        for host in ["127.0.0.1", "[::1]", "localhost", "LocalHost.", "s3.localhost", "0.0.0.0"] {
            assert!(is_of_here(host), "{host}");
        }
        for host in ["169.254.169.254", "[fe80::1]", "::ffff:127.0.0.1"] {
            assert!(is_of_here(host), "{host}");
        }
        for host in ["10.77.2.1", "s3.example", "localhost.example", "[2001:db8::7]"] {
            assert!(!is_of_here(host), "{host}");
        }
    }
}
