//! Buckets: opened with what their own tools would open them with, and asked once before anything
//! is scanned, so that a wrong key or a wrong name ends a transfer before it begins.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use xfer_protocol::message::Request;

use super::store_refusals::{open_error, store_error};
use super::{Connected, Connector, Far};
use crate::endpoint::object::clearing::clear;
use crate::endpoint::object::store::open::{StoreSettings, open};
use crate::endpoint::object::store::patience::{PatienceOptions, Patient};
use crate::endpoint::object::store::{List, Store, StoreError, StoreResult};
use crate::endpoint::object::{ObjectEndpoint, ObjectOptions};
use crate::error::{Failure, NetworkReason, TransferError};
use crate::event::Route;
use crate::location::{Bucket, Location, Machine};
use crate::options::{RetryOptions, TransferOptions};

/// Further tries of the first request: an address that is wrong is to be told soon.
const FIRST_TRIES: u32 = 3;

/// How long these may take.
const FIRST_WITHIN: Duration = Duration::from_secs(60);

impl Connector {
    /// The objects of a bucket.
    ///
    /// # Errors
    /// No credentials, credentials that are refused, no such bucket, or a store that does not
    /// answer as one.
    pub(super) async fn store(
        &self,
        bucket: &Bucket,
        options: &TransferOptions,
        ahead: &[Request],
    ) -> Result<Connected, TransferError> {
        let place = bucket.to_string();
        let (patient, address) = self.patient_store(bucket, options, &prefix(ahead)).await?;
        let notices = in_the_clear(&place, &address).into_iter().collect();
        let (transport, streams) = (scheme(&address).to_owned(), patient.streams());
        let route = Some(Route { kind: "store", transport, direct: true, streams });
        let carried = Arc::clone(&patient) as Arc<dyn Store>;
        let objects = self.object_options(options);
        let told = Arc::clone(&objects.told);
        let objects = Arc::new(ObjectEndpoint::new(carried, objects));
        let here = Connected::here(Arc::clone(&objects));
        Ok(Connected { place, route, notices, told, far: Far::Store(patient, objects), ..here })
    }

    /// A bucket that was asked once for what begins with a prefix, and where it is asked.
    pub(super) async fn patient_store(
        &self,
        bucket: &Bucket,
        options: &TransferOptions,
        prefix: &str,
    ) -> Result<(Arc<Patient>, String), TransferError> {
        let place = bucket.to_string();
        let web = self.web(options).map_err(|error| {
            let failure = Failure::new(place, NetworkReason::StoreUnreachable);
            TransferError::Network(failure.because(error))
        })?;
        let settings = StoreSettings {
            endpoint: options.network.endpoint.clone(),
            ..StoreSettings::default()
        };
        let opened = open(bucket, &settings, web).await;
        let store = opened.map_err(|error| open_error(bucket, error))?;
        let address = store.address().map(str::to_owned).unwrap_or_default();
        let patience = |retry| PatienceOptions {
            retry,
            streams: options.network.streams,
            seed: self.unique(),
        };
        let hasty = RetryOptions {
            retries: options.retry.retries.min(FIRST_TRIES),
            give_up: options.retry.give_up.min(FIRST_WITHIN),
            ..options.retry
        };
        let patient = Patient::new(Arc::clone(&store), patience(hasty), self.clock());
        first_look(&patient, prefix).await.map_err(|error| store_error(bucket, error))?;
        Ok((Arc::new(Patient::new(store, patience(options.retry), self.clock())), address))
    }

    /// Removes all that lies below a directory of a bucket.
    ///
    /// # Errors
    /// As the bucket is opened, and as it removes.
    pub(crate) async fn clear(
        &self,
        directory: &Location,
        options: &TransferOptions,
    ) -> Result<(), TransferError> {
        let Machine::Store(bucket) = &directory.machine else {
            return Err(TransferError::Internal("what is to be cleared is no bucket"));
        };
        let path = &directory.path[..];
        let prefix = String::from_utf8_lossy(path.strip_prefix(b"/").unwrap_or(path));
        let (store, _) = self.patient_store(bucket, options, &prefix).await?;
        let cleared = clear(&*store, &directory.path).await;
        cleared.map_err(|error| store_error(bucket, error))
    }

    pub(super) fn object_options(&self, options: &TransferOptions) -> ObjectOptions {
        let state = self.state_directory();
        let child = |name| state.as_ref().ok().and_then(|state| state.child(name).ok());
        ObjectOptions {
            seed: self.start(options).session.0,
            records: child("uploads"),
            locks: child("locks"),
            believes_answers: !options.verify.level.is_durable(),
            told: Arc::default(),
            weak_states: false,
            begins_anew: false,
        }
    }
}

/// Asks for one key, below what will be looked at: some credentials may list nothing else.
async fn first_look(store: &dyn Store, prefix: &str) -> StoreResult<()> {
    let ask = async |prefix: &str| {
        let list = List { prefix, folded: true, page: None, most: 1 };
        store.list(list).await.map(drop)
    };
    match ask(prefix).await {
        Err(StoreError::Denied(_)) if !prefix.is_empty() && !prefix.ends_with('/') => {
            ask(&format!("{prefix}/")).await
        }
        looked => looked,
    }
}

/// What the keys begin with that will be asked for first.
pub(super) fn prefix(ahead: &[Request]) -> String {
    let path = ahead.iter().find_map(|request| match request {
        Request::Locate(locate) => Some((&locate.path[..], locate.expand)),
        _ => None,
    });
    let Some((path, expand)) = path else { return String::new() };
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let is_pattern = |byte: &u8| expand && b"*?[".contains(byte);
    let plain = &path[..path.iter().position(is_pattern).unwrap_or(path.len())];
    let whole = std::str::from_utf8(plain).map_or_else(|error| error.valid_up_to(), str::len);
    String::from_utf8_lossy(&plain[..whole]).into_owned()
}

fn scheme(address: &str) -> &'static str {
    if address.starts_with("http://") { "http" } else { "https" }
}

/// What the user should know of a store whose payload others can read on its way.
fn in_the_clear(place: &str, address: &str) -> Option<String> {
    let host = address.strip_prefix("http://")?.split('/').next()?;
    let name = match host.strip_prefix('[') {
        Some(inside) => inside.split(']').next()?,
        None => host.split(':').next()?,
    };
    let is_here = |name: &str| name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    (name != "localhost" && !is_here(name)).then(|| {
        format!("{place}: http://{host} is not encrypted: who is on the way can read the files")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use bytes::Bytes;
    use xfer_protocol::message::Locate;

    use super::*;
    use crate::endpoint::object::store::{
        Abilities, Checksum, Condition, Get, Key, Load, Object, Page, Part, Put, Stored, Upload,
        UploadId,
    };

    /// A store that is asked for lists alone: what it was asked, and which prefixes it lists.
    #[derive(Debug)]
    struct Lists {
        asked: Mutex<Vec<String>>,
        allowed: &'static [&'static str],
    }

    #[async_trait]
    impl Store for Lists {
        fn abilities(&self) -> Abilities {
            Abilities {
                part_min: 1,
                part_max: 1,
                parts_max: 1,
                put_max: 1,
                lists_parts: false,
                attributes_at_end: false,
                takes_back: true,
            }
        }
        fn name(&self) -> &str {
            "s3://lists"
        }
        async fn head(&self, _: &Key) -> StoreResult<Object> {
            Err(StoreError::Unsupported)
        }
        async fn get(&self, _: Get<'_>) -> StoreResult<(Bytes, Object)> {
            Err(StoreError::Unsupported)
        }
        async fn put(&self, _: Put<'_>) -> StoreResult<Stored> {
            Err(StoreError::Unsupported)
        }
        async fn remove(&self, _: &Key) -> StoreResult<()> {
            Err(StoreError::Unsupported)
        }
        async fn list(&self, list: List<'_>) -> StoreResult<Page> {
            assert_eq!(list.most, 1);
            self.asked.lock().unwrap().push(list.prefix.to_owned());
            match self.allowed.contains(&list.prefix) {
                true => Ok(Page::default()),
                false => Err(StoreError::Denied("no".into())),
            }
        }
        async fn begin(&self, _: &Key, _: &[(String, String)]) -> StoreResult<UploadId> {
            Err(StoreError::Unsupported)
        }
        async fn put_part(
            &self,
            _: &Key,
            _: &UploadId,
            _: u32,
            _: Load,
            _: Checksum,
        ) -> StoreResult<Part> {
            Err(StoreError::Unsupported)
        }
        async fn parts(&self, _: &Key, _: &UploadId, _: u32) -> StoreResult<Vec<Part>> {
            Err(StoreError::Unsupported)
        }
        async fn complete(
            &self,
            _: &Key,
            _: &UploadId,
            _: &[Part],
            _: &[(String, String)],
            _: Option<Checksum>,
            _: Condition,
        ) -> StoreResult<Stored> {
            Err(StoreError::Unsupported)
        }
        async fn abort(&self, _: &Key, _: &UploadId) -> StoreResult<()> {
            Err(StoreError::Unsupported)
        }
        async fn uploads(&self, _: &str) -> StoreResult<Vec<Upload>> {
            Err(StoreError::Unsupported)
        }
    }

    fn ahead(path: &[u8], expand: bool) -> Vec<Request> {
        vec![Request::Locate(Locate { path: path.to_vec(), expand })]
    }

    #[test]
    fn the_first_look_is_where_the_transfer_will_be() {
        for (path, expand, expected) in [
            (&b"/"[..], true, ""),
            (b"/run7", true, "run7"),
            (b"/run7/", true, "run7/"),
            (b"/run7/a*/b", true, "run7/a"),
            (b"/run7/a*/b", false, "run7/a*/b"),
            (b"/run\xff", true, "run"),
        ] {
            assert_eq!(prefix(&ahead(path, expand)), expected);
        }
        assert_eq!(prefix(&[]), "");
    }

    #[tokio::test]
    async fn who_may_list_a_directory_alone_is_let_look_there() {
        let asked = |allowed: &'static [&'static str], prefix: &'static str| async move {
            let lists = Lists { asked: Mutex::default(), allowed };
            let looked = first_look(&lists, prefix).await;
            (looked.is_ok(), lists.asked.into_inner().unwrap())
        };
        assert_eq!(asked(&["run7/"], "run7/").await, (true, vec!["run7/".into()]));
        let twice = || vec!["run7".to_owned(), "run7/".to_owned()];
        assert_eq!(asked(&["run7/"], "run7").await, (true, twice()));
        assert_eq!(asked(&["other/"], "run7").await, (false, twice()));
        assert_eq!(asked(&["run7/"], "").await, (false, vec![String::new()]));
    }

    #[test]
    fn what_others_can_read_on_its_way_is_told() {
        for (address, told) in [
            ("https://s3.example", false),
            ("http://127.0.0.1:9000", false),
            ("http://[::1]:9000/base", false),
            ("http://localhost:9000", false),
            ("http://minio.example:9000", true),
            ("http://127.0.0.1.example", true),
            ("http://[2001:db8::1]:9000", true),
            ("", false),
        ] {
            let notice = in_the_clear("s3://bucket", address);
            assert_eq!(notice.is_some(), told, "{address}");
        }
        assert_eq!(
            (scheme("http://h"), scheme("https://h"), scheme("")),
            ("http", "https", "https")
        );
    }
}
