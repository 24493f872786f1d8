use std::collections::VecDeque;

use futures_util::FutureExt;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::range::ByteRange;

use super::super::Version;
use super::*;

/// Time that passes in pauses alone.
#[derive(Debug, Default)]
struct HandClock {
    now: Mutex<Duration>,
    pauses: Mutex<Vec<Duration>>,
}

impl Clock for HandClock {
    fn elapsed(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn pause(&self, time: Duration) -> BoxFuture<'static, ()> {
        *self.now.lock().unwrap() += time;
        self.pauses.lock().unwrap().push(time);
        Box::pin(std::future::ready(()))
    }
}

/// A store that answers as it was told, and then well.
#[derive(Debug, Default)]
struct Scripted {
    errors: Mutex<VecDeque<StoreError>>,
    calls: Mutex<u32>,
    /// How long each request takes.
    takes: Duration,
    clock: Arc<HandClock>,
}

impl Scripted {
    fn answer<T>(&self, answer: T) -> StoreResult<T> {
        *self.calls.lock().unwrap() += 1;
        *self.clock.now.lock().unwrap() += self.takes;
        self.errors.lock().unwrap().pop_front().map_or(Ok(answer), Err)
    }
}

fn stored() -> Stored {
    Stored { version: Version::default(), checksum: None }
}

fn object() -> Object {
    Object {
        size: 4,
        version: Version::default(),
        modified: Timestamp::default(),
        checksums: Vec::new(),
        attributes: Vec::new(),
        coding: None,
    }
}

#[async_trait]
impl Store for Scripted {
    fn abilities(&self) -> Abilities {
        Abilities {
            part_min: 1,
            part_max: 1 << 30,
            parts_max: 10_000,
            put_max: 1 << 30,
            lists_parts: true,
            attributes_at_end: false,
            takes_back: true,
        }
    }

    fn name(&self) -> &'static str {
        "s3://scripted"
    }

    async fn head(&self, _: &Key) -> StoreResult<Object> {
        self.answer(object())
    }

    async fn get(&self, get: Get<'_>) -> StoreResult<(Bytes, Object)> {
        let length = usize::try_from(get.range.len()).unwrap();
        self.answer((Bytes::from(vec![0; length]), object()))
    }

    async fn put(&self, _: Put<'_>) -> StoreResult<Stored> {
        self.answer(stored())
    }

    async fn remove(&self, _: &Key) -> StoreResult<()> {
        self.answer(())
    }

    async fn list(&self, _: List<'_>) -> StoreResult<Page> {
        self.answer(Page::default())
    }

    async fn begin(&self, _: &Key, _: &[(String, String)]) -> StoreResult<UploadId> {
        self.answer(UploadId("u".to_owned()))
    }

    async fn put_part(
        &self,
        _: &Key,
        _: &UploadId,
        number: u32,
        body: Load,
        _: Checksum,
    ) -> StoreResult<Part> {
        let size = body.length();
        self.answer(Part { number, size, tag: String::new(), checksum: None })
    }

    async fn parts(&self, _: &Key, _: &UploadId, _: u32) -> StoreResult<Vec<Part>> {
        self.answer(Vec::new())
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
        self.answer(stored())
    }

    async fn abort(&self, _: &Key, _: &UploadId) -> StoreResult<()> {
        self.answer(())
    }

    async fn uploads(&self, _: &str) -> StoreResult<Vec<Upload>> {
        self.answer(Vec::new())
    }
}

/// One method of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Head,
    Get,
    Put,
    PutIfAbsent,
    Remove,
    List,
    Begin,
    PutPart,
    Parts,
    Complete,
    Abort,
    Uploads,
}

const METHODS: [Method; 12] = [
    Method::Head,
    Method::Get,
    Method::Put,
    Method::PutIfAbsent,
    Method::Remove,
    Method::List,
    Method::Begin,
    Method::PutPart,
    Method::Parts,
    Method::Complete,
    Method::Abort,
    Method::Uploads,
];

/// Bytes of each body.
const BODY: u64 = 1000;

struct Stand {
    store: Arc<Scripted>,
    patient: Patient,
}

impl Stand {
    fn new(errors: impl IntoIterator<Item = StoreError>, takes: Duration) -> Self {
        let clock = Arc::new(HandClock::default());
        let errors = Mutex::new(errors.into_iter().collect());
        let calls = Mutex::default();
        let store = Arc::new(Scripted { errors, calls, takes, clock: Arc::clone(&clock) });
        let asked = Arc::clone(&store) as Arc<dyn Store>;
        let patient = Patient::new(asked, PatienceOptions { seed: 7, ..options() }, clock);
        Self { store, patient }
    }

    fn calls(&self) -> u32 {
        *self.store.calls.lock().unwrap()
    }

    fn pauses(&self) -> Vec<Duration> {
        self.store.clock.pauses.lock().unwrap().clone()
    }

    fn ask(&self, method: Method) -> StoreResult<()> {
        let asked = self.asking(method);
        asked.now_or_never().expect("nothing waits but for the clock")
    }

    async fn asking(&self, method: Method) -> StoreResult<()> {
        let (key, upload) = (Key::new("k").unwrap(), UploadId("u".to_owned()));
        let body = Load::from(Bytes::from(vec![1; usize::try_from(BODY).unwrap()]));
        let checksum = Checksum::Crc32c(0);
        let put =
            |condition| Put { key: &key, body: body.clone(), attributes: &[], checksum, condition };
        let range = ByteRange::whole(BODY).unwrap();
        let list = List { prefix: "", folded: false, page: None, most: 1 };
        let patient = &self.patient;
        match method {
            Method::Head => patient.head(&key).await.map(drop),
            Method::Get => {
                let get = Get { key: &key, range, version: &Version::default() };
                patient.get(get).await.map(drop)
            }
            Method::Put => patient.put(put(Condition::Always)).await.map(drop),
            Method::PutIfAbsent => patient.put(put(Condition::Absent)).await.map(drop),
            Method::Remove => patient.remove(&key).await,
            Method::List => patient.list(list).await.map(drop),
            Method::Begin => patient.begin(&key, &[]).await.map(drop),
            Method::PutPart => patient.put_part(&key, &upload, 1, body, checksum).await.map(drop),
            Method::Parts => patient.parts(&key, &upload, 0).await.map(drop),
            Method::Complete => {
                let asked =
                    patient.complete(&key, &upload, &[], &[], None, Condition::Always).await;
                asked.map(drop)
            }
            Method::Abort => patient.abort(&key, &upload).await,
            Method::Uploads => patient.uploads("").await.map(drop),
        }
    }
}

fn options() -> PatienceOptions {
    PatienceOptions::default()
}

fn said() -> String {
    "said".to_owned()
}

fn slow(after: Option<u64>) -> StoreError {
    StoreError::Slow { reason: said(), after: after.map(Duration::from_secs) }
}

/// The requests that a method is worth where the store always answers so.
fn tries(method: Method, error: &StoreError) -> u32 {
    let stand = Stand::new((0..100).map(|_| error.clone()), Duration::ZERO);
    assert_eq!(stand.ask(method).as_ref(), Err(error), "{method:?}");
    stand.calls()
}

#[test]
fn what_passes_is_asked_eleven_times() {
    for method in METHODS {
        for error in [StoreError::Again(said()), slow(None)] {
            assert_eq!(tries(method, &error), 11, "{method:?} {error}");
        }
    }
}

/// Rows: G3.
#[test]
fn what_may_have_been_done_and_is_not_the_same_again_is_asked_once() {
    for method in METHODS {
        let once = matches!(method, Method::Complete | Method::PutIfAbsent);
        let expected = if once { 1 } else { 11 };
        assert_eq!(tries(method, &StoreError::Unknown(said())), expected, "{method:?}");
    }
}

#[test]
fn what_was_damaged_is_moved_a_few_times_more() {
    use Method::{Get, Put, PutPart};
    for method in [Get, Put, PutPart] {
        assert_eq!(tries(method, &StoreError::Damaged(said())), 4, "{method:?}");
        assert_eq!(tries(method, &StoreError::Nonsense(said())), 4, "{method:?}");
    }
    for method in [Method::Complete, Method::Head, Method::List] {
        assert_eq!(tries(method, &StoreError::Damaged(said())), 1, "{method:?}");
        assert_eq!(tries(method, &StoreError::Nonsense(said())), 1, "{method:?}");
    }
}

#[test]
fn what_is_decided_is_asked_once() {
    for method in METHODS {
        for error in [
            StoreError::Missing,
            StoreError::NoBucket,
            StoreError::Denied(said()),
            StoreError::Changed,
            StoreError::Busy,
            StoreError::Unsupported,
            StoreError::Untrusted(said()),
            StoreError::Elsewhere(said()),
            StoreError::Failed(said()),
        ] {
            assert_eq!(tries(method, &error), 1, "{method:?} {error}");
        }
    }
}

/// Rows: G12.
#[test]
fn refused_credentials_are_tried_once_more_after_a_while() {
    for method in METHODS {
        assert_eq!(tries(method, &StoreError::Refused(said())), 2, "{method:?}");
    }
    let refused = || StoreError::Refused(said());
    let stand = Stand::new([refused()], Duration::ZERO);
    assert_eq!(stand.ask(Method::PutPart), Ok(()));
    assert!(stand.pauses()[0] >= RENEWED_AFTER);
    // Not for each other failure between them either.
    let stand = Stand::new([refused(), slow(None), refused()], Duration::ZERO);
    assert_eq!(stand.ask(Method::Head), Err(refused()));
}

#[test]
fn a_write_under_a_condition_may_meet_its_own_damaged_try() {
    let errors = || [StoreError::Damaged(said()), StoreError::Changed];
    let stand = Stand::new(errors(), Duration::ZERO);
    let met = stand.ask(Method::PutIfAbsent);
    assert!(matches!(met, Err(StoreError::Unknown(_))), "{met:?}");
    let stand = Stand::new(errors(), Duration::ZERO);
    assert_eq!(stand.ask(Method::PutPart), Err(StoreError::Changed));
}

#[test]
fn an_upload_that_an_unanswered_request_ended_is_ended() {
    let stand = Stand::new([StoreError::Unknown(said()), StoreError::Missing], Duration::ZERO);
    assert_eq!(stand.ask(Method::Abort), Ok(()));
    let stand = Stand::new([slow(None), StoreError::Missing], Duration::ZERO);
    assert_eq!(stand.ask(Method::Abort), Err(StoreError::Missing));
}

#[test]
fn pauses_keep_their_bounds_and_differ() {
    let stand = Stand::new((0..100).map(|_| slow(None)), Duration::ZERO);
    for _ in 0..5 {
        assert_eq!(stand.ask(Method::Get), Err(slow(None)));
    }
    let pauses = stand.pauses();
    assert_eq!(pauses.len(), 50);
    for (i, pause) in pauses.iter().enumerate() {
        let whole = Duration::from_secs(1 << (i % 10)).min(PAUSE_MAX);
        assert!(*pause <= whole, "{pause:?} of {whole:?}");
    }
    let different: std::collections::BTreeSet<_> = pauses.iter().collect();
    assert!(different.len() > 45, "{pauses:?}");
}

#[test]
fn a_store_says_itself_how_long_to_wait_up_to_a_limit() {
    let stand = Stand::new([slow(Some(20)), slow(Some(100_000))], Duration::ZERO);
    assert_eq!(stand.ask(Method::Put), Ok(()));
    assert_eq!(stand.pauses(), [Duration::from_secs(20), PAUSE_MAX]);
}

#[test]
fn it_ends_after_a_time_without_any_success() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let stand = Stand::new((0..3).map(|_| StoreError::Again(said())), minutes(5));
    assert_eq!(stand.ask(Method::Head), Err(StoreError::Again(said())));
    assert_eq!(stand.calls(), 3);
    // What was idle before does not count.
    let stand = Stand::new([StoreError::Again(said())], minutes(5));
    *stand.store.clock.now.lock().unwrap() = minutes(600);
    assert_eq!(stand.ask(Method::Head), Ok(()));
}

/// Another request that succeeds meanwhile renews the time.
#[test]
fn the_success_of_any_request_counts() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let stand = Stand::new((0..3).map(|_| StoreError::Again(said())), minutes(5));
    let mut failures = Failures::new(Duration::ZERO, 0);
    *stand.store.clock.now.lock().unwrap() = minutes(16);
    let error = StoreError::Again(said());
    assert!(stand.patient.after(Ask::LIGHT, &error, &mut failures).is_none());
    *stand.patient.last_success.lock().unwrap() = minutes(10);
    assert!(stand.patient.after(Ask::LIGHT, &error, &mut failures).is_some());
}

/// Rows: G1.
#[test]
fn a_burst_halves_what_is_under_way() {
    let stand = Stand::new([slow(None)], Duration::ZERO);
    assert_eq!(stand.patient.streams(), 16);
    assert_eq!(stand.ask(Method::Head), Ok(()));
    assert_eq!(stand.patient.streams(), 16);
    let stand = Stand::new([slow(None), slow(None)], Duration::ZERO);
    assert_eq!(stand.ask(Method::PutPart), Ok(()));
    assert_eq!(stand.patient.streams(), 4);
}

#[test]
fn what_is_asked_is_counted() {
    let errors = [slow(None), StoreError::Damaged(said())];
    let stand = Stand::new(errors, Duration::ZERO);
    assert_eq!(stand.ask(Method::PutPart), Ok(()));
    assert_eq!(stand.ask(Method::Head), Ok(()));
    let asked = Asked { requests: 4, repeated: 2, wasted_bytes: 2 * BODY };
    assert_eq!(stand.patient.asked(), asked);
}
