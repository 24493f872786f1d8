//! Requests that another machine makes: each signed here when it is made, for one purpose.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::super::xml::Element;
use super::super::{Fetched, Get, Load, Object, StoreError, StoreResult};
use super::address::Asking;
use super::refusals::{Asked, Refusal, Twice, drained, lost};
use super::{SignedStore, answers, ranged};
use crate::endpoint::errands::{Answered, Porter, Unserved};
use crate::transport::web::WebRequest;

impl SignedStore {
    /// Writes, from wherever the bytes are; the headers of the answer.
    pub(super) async fn written(
        &self,
        request: WebRequest,
        load: Load,
        asked: Asked<'_>,
    ) -> StoreResult<HeaderMap> {
        let cargo = match load {
            Load::Here(body) => {
                let answer = self.send(WebRequest { body, ..request }, asked).await?;
                let headers = answer.headers.clone();
                drained(answer, asked.twice).await?;
                return Ok(headers);
            }
            Load::There(cargo) => cargo,
        };
        let porter = cargo.porter().ok_or(StoreError::Unsupported)?;
        let answered = porter.ask(request, cargo.slices()).await;
        let answered = answered.map_err(|error| unserved(error, asked.twice))?;
        Ok(accepted(answered, asked)?.headers)
    }

    pub(super) async fn fetched(
        &self,
        get: Get<'_>,
        size: u64,
        porter: &Arc<Porter>,
    ) -> StoreResult<(Fetched, Object)> {
        let request = self.request(ranged(&get)?).await?;
        let fetched = porter.fetch(request, get.range, size).await;
        let (answered, digests, kept) = fetched.map_err(|error| unserved(error, Twice::Same))?;
        let answered = accepted(answered, self.asked(false, Twice::Same))?;
        let object = answers::opened(answered.status, &answered.headers, &get)?;
        Ok((Fetched { kept, digests }, object))
    }

    /// A list of nothing: whoever may do more may not do that, which is an answer as well.
    pub(super) async fn tried(&self, porter: &Arc<Porter>) -> StoreResult<()> {
        let asking = Asking::new(Method::GET, None).query("list-type", "2").query("max-keys", "0");
        let request = self.request(asking).await?;
        let answered = porter.ask(request, Vec::new()).await;
        let answered = answered.map_err(|error| unserved(error, Twice::Same))?;
        // Whoever else has that address there does not answer as a store.
        let name = Element::parse(&answered.body).map(|document| document.name);
        match name.as_deref() {
            Ok("ListBucketResult" | "Error") => Ok(()),
            _ => Err(answers::nonsense("who answers there is no store")),
        }
    }
}

fn accepted(answered: Answered, asked: Asked<'_>) -> StoreResult<Answered> {
    match answered.status {
        200..=299 => Ok(answered),
        status => {
            let refusal = Refusal::of(status, &answered.headers, &answered.body);
            Err(refusal.meaning(asked))
        }
    }
}

fn unserved(error: Unserved, twice: Twice) -> StoreError {
    match error {
        Unserved::Machine(error) => StoreError::Porter(error),
        Unserved::Unkept => StoreError::Unkept,
        Unserved::Web(error) => lost(&error, twice),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use async_trait::async_trait;
    use xfer_protocol::digest::Digest;
    use xfer_protocol::message::errand::{
        Carried, CarriedMethod, Carry, CarryProblem, CarryProblemKind, Gather, Gathered, Head,
    };
    use xfer_protocol::message::passage::{ForwardedRead, ParcelIndex};
    use xfer_protocol::message::{FilesAt, RootIndex};
    use xfer_protocol::range::ByteRange;

    use super::super::super::{
        Checksum, Condition, Key, Part, Put, Store, Stored, Unit, UploadId, Version,
    };
    use super::super::SignedSettings;
    use super::*;
    use crate::endpoint::errands::Errands;
    use crate::endpoint::{EndpointError, EndpointResult, ProtocolReason};
    use crate::transport::web::Web;

    const SECRET: &str = "the-secret-that-signs";

    /// A machine that answers what it is told to, and remembers what it was asked.
    struct Machine {
        answer: Mutex<Carried>,
        asked: Mutex<Vec<Carry>>,
        disposed: Mutex<Vec<ParcelIndex>>,
    }

    #[async_trait]
    impl Errands for Machine {
        async fn gather(&self, _: Gather) -> EndpointResult<Gathered> {
            Ok(Gathered::Pack(Vec::new()))
        }
        async fn carry(&self, carry: Carry) -> EndpointResult<Carried> {
            self.asked.lock().unwrap().push(carry);
            Ok(self.answer.lock().unwrap().clone())
        }
        async fn dispose(&self, parcels: Vec<ParcelIndex>) -> EndpointResult<()> {
            self.disposed.lock().unwrap().extend(parcels);
            Ok(())
        }
    }

    fn head(status: u16, headers: &[(&str, &str)], body: &str) -> Carried {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers = headers.iter().map(own).collect();
        let outcome = Ok(Head { status, headers, body: body.as_bytes().to_vec() });
        Carried { outcome, digests: Vec::new(), crc: None }
    }

    fn stand(answer: Carried) -> (SignedStore, Arc<Machine>, Arc<Porter>) {
        let settings = SignedSettings::of_keys("bucket", "us-east-1", "AKIA", SECRET, None);
        let store = SignedStore::open(&settings, Web::new(Duration::from_secs(1)).unwrap());
        let (asked, disposed) = (Mutex::default(), Mutex::default());
        let machine = Arc::new(Machine { answer: Mutex::new(answer), asked, disposed });
        let errands = Arc::clone(&machine) as Arc<dyn Errands>;
        let porter = Porter::new(errands, "machine".to_owned(), Duration::from_secs(30));
        (store.unwrap(), machine, porter)
    }

    async fn load(porter: &Arc<Porter>) -> Load {
        let files = FilesAt { root: RootIndex(0), files: Vec::new() };
        let (_, kept) = porter.gather(ForwardedRead::Pack(files)).await.unwrap();
        let digest = Digest::from_bytes([7; 32]);
        Load::from(vec![Unit { kept, start: 3, length: 9, digest, crc: 5 }])
    }

    async fn put_part(answer: Carried) -> (StoreResult<Part>, Arc<Machine>) {
        let (store, machine, porter) = stand(answer);
        let (key, id) = (Key::new("a/k").unwrap(), UploadId("u".to_owned()));
        let load = load(&porter).await;
        let put = store.put_part(&key, &id, 4, load, Checksum::Crc64Nvme(5)).await;
        (put, machine)
    }

    /// The machine hears an address that is good for one part and for a while, and no more.
    #[tokio::test]
    async fn a_part_is_put_by_another_machine() {
        let (put, machine) = put_part(head(200, &[("etag", "\"e\"")], "")).await;
        assert_eq!(put.unwrap().tag, "\"e\"");
        let asked = machine.asked.lock().unwrap().clone();
        let [carry] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!((carry.method, &carry.keep), (CarriedMethod::Put, &None));
        assert_eq!((carry.body[0].start, carry.body[0].length), (3, 9));
        let has = |part: &str| carry.address.contains(part);
        assert!(has("/a/k?") && has("partNumber=4") && has("uploadId=u"), "{}", carry.address);
        assert!(has("X-Amz-Expires=900") && !has(SECRET), "{}", carry.address);
        let sum = ("x-amz-checksum-crc64nvme".to_owned(), "AAAAAAAAAAU=".to_owned());
        assert!(carry.headers.contains(&sum), "{:?}", carry.headers);
        let shown = format!("{carry:?}");
        assert!(!shown.contains("X-Amz-Signature") && !shown.contains("AAAAU="), "{shown}");
        // What nobody needs any more is given up.
        tokio::task::yield_now().await;
        assert_eq!(*machine.disposed.lock().unwrap(), [carry.body[0].parcel]);
    }

    #[tokio::test]
    async fn what_came_of_an_errand_is_told_as_of_a_request() {
        let problem = |kind| {
            let problem = CarryProblem { kind, reason: "why\x1b[2J".to_owned() };
            Carried { outcome: Err(problem), digests: Vec::new(), crc: None }
        };
        let error = |code: &str| format!("<Error><Code>{code}</Code></Error>");
        assert_eq!(put_part(problem(CarryProblemKind::NoParcel)).await.0, Err(StoreError::Unkept));
        let (put, _) = put_part(problem(CarryProblemKind::Unreached)).await;
        let Err(StoreError::Again(text)) = put else { panic!("{put:?}") };
        assert!(text.contains("asked by machine") && !text.contains('\x1b'), "{text}");
        assert!(!text.contains("Amz"), "{text}");
        let (put, _) = put_part(problem(CarryProblemKind::Untrusted)).await;
        assert!(matches!(put, Err(StoreError::Untrusted(_))), "{put:?}");
        let (put, _) = put_part(head(404, &[], &error("NoSuchUpload"))).await;
        assert_eq!(put, Err(StoreError::Missing));
        let (put, _) = put_part(head(503, &[("retry-after", "2")], &error("SlowDown"))).await;
        let after = Some(Duration::from_secs(2));
        assert!(matches!(put, Err(StoreError::Slow { after: told, .. }) if told == after));
        let (put, _) = put_part(head(200, &[], "")).await;
        assert!(matches!(put, Err(StoreError::Nonsense(_))), "a part without a tag");
        let broken = EndpointError::Protocol(ProtocolReason::Mismatched);
        for bad in [head(7, &[], ""), head(200, &[("e tag", "x")], "")] {
            assert_eq!(put_part(bad).await.0, Err(StoreError::Porter(broken.clone())));
        }
    }

    #[tokio::test]
    async fn an_object_is_put_and_a_range_is_kept() {
        let (store, machine, porter) = stand(head(200, &[("etag", "\"e\"")], ""));
        let key = Key::new("k").unwrap();
        let attributes = [("mtime".to_owned(), "1.5".to_owned())];
        let put = Put {
            key: &key,
            body: load(&porter).await,
            attributes: &attributes,
            checksum: Checksum::Crc64Nvme(5),
            condition: Condition::Always,
        };
        let version = Version { etag: Some("\"e\"".to_owned()), id: None };
        let stored = Stored { version: version.clone(), checksum: None };
        assert_eq!(store.put(put).await, Ok(stored));
        let date = ("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT");
        let told = [date, ("content-range", "bytes 2-5/9"), ("etag", "\"e\"")];
        *machine.answer.lock().unwrap() = head(206, &told, "");
        let get = Get { key: &key, range: ByteRange::new(2, 6).unwrap(), version: &version };
        let (_, object) = store.fetch(get.clone(), 9, &porter).await.unwrap();
        assert_eq!(object.size, 9);
        let keep = machine.asked.lock().unwrap().last().and_then(|carry| carry.keep).unwrap();
        assert_eq!((keep.start, keep.length, keep.size), (2, 4, 9));
        *machine.answer.lock().unwrap() = head(412, &[], "");
        assert_eq!(store.fetch(get, 9, &porter).await.map(drop), Err(StoreError::Changed));
    }

    #[tokio::test]
    async fn who_answers_as_no_store_is_none() {
        for (body, expected) in [
            ("<ListBucketResult></ListBucketResult>", true),
            ("<Error><Code>AccessDenied</Code></Error>", true),
            ("<html></html>", false),
            ("", false),
        ] {
            let (store, _, porter) = stand(head(200, &[], body));
            assert_eq!(store.try_from_there(&porter).await.is_ok(), expected, "{body}");
        }
    }
}
