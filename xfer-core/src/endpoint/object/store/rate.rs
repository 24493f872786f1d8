//! How many requests are under way at a time: as many as make a store faster, and as few as it asks
//! for.
//!
//! Requests with bodies begin at a limit that grows after each round in which all of it was used
//! and more came through than before: by half, until a round brings too little for that or the
//! store asks for less, and by one from then on. It halves when the store asks for less: once for
//! all that were under way then. Their bytes are limited too, for memory follows them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Requests with bodies at the beginning.
const BEGIN: usize = 16;

/// Requests of either kind at most.
pub(super) const MOST: usize = 64;

/// Bytes of bodies at most.
const BYTES_MAX: u64 = 128 * 1024 * 1024;

/// What the bytes are counted in: a semaphore counts 32 bits.
const GRAIN: u64 = 1024;

/// What a request costs beside its bytes, in bytes: many small ones are progress too.
const REQUEST_WEIGHT: u64 = 64 * 1024;

/// Limits requests.
#[derive(Debug)]
pub(super) struct Rate {
    most: usize,
    /// Requests with bodies.
    slots: Semaphore,
    bytes: Semaphore,
    /// Requests without.
    light: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    in_flight: usize,
    /// Slots that are taken away when the next requests end.
    owed: usize,
    /// Counts halvings: what was asked for before one says nothing of what came after it.
    era: u64,
    round: Round,
    /// Weight a second of the best round.
    best: f64,
    /// Whether nothing has told yet how many are enough.
    opening: bool,
    /// By how many it grew last.
    grew: usize,
}

/// Successes since the limit was last decided.
#[derive(Debug, Default)]
struct Round {
    began: Option<Duration>,
    successes: usize,
    weight: u64,
    full: bool,
}

/// A request that is under way.
#[derive(Debug)]
pub(super) enum Slot<'a> {
    /// With a body.
    Heavy(HeavySlot<'a>),
    /// Without one.
    Light { _permit: Option<SemaphorePermit<'a>> },
}

/// A request with a body.
#[derive(Debug)]
pub(super) struct HeavySlot<'a> {
    rate: &'a Rate,
    permit: Option<SemaphorePermit<'a>>,
    era: u64,
}

impl Rate {
    /// At most so many requests at a time; 1 to [`MOST`] of them.
    pub(super) fn new(most: usize) -> Self {
        let most = most.clamp(1, MOST);
        let limit = BEGIN.min(most);
        let state = State {
            limit,
            in_flight: 0,
            owed: 0,
            era: 0,
            round: Round::default(),
            best: 0.0,
            opening: true,
            grew: 1,
        };
        Self {
            most,
            slots: Semaphore::new(limit),
            bytes: Semaphore::new(grains(BYTES_MAX) as usize),
            light: Semaphore::new(MOST),
            state: Mutex::new(state),
        }
    }

    /// Waits until memory may hold a body; one beyond the limit takes all of it.
    pub(super) async fn room(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        self.bytes.acquire_many(grains(bytes.min(BYTES_MAX))).await.ok()
    }

    /// Waits until a request may begin.
    pub(super) async fn begin(&self, has_body: bool, now: impl Fn() -> Duration) -> Slot<'_> {
        if !has_body {
            return Slot::Light { _permit: self.light.acquire().await.ok() };
        }
        let permit = self.slots.acquire().await.ok();
        let mut state = self.state();
        state.in_flight += 1;
        state.round.full |= state.in_flight >= state.limit;
        state.round.began.get_or_insert_with(now);
        Slot::Heavy(HeavySlot { rate: self, permit, era: state.era })
    }

    /// Requests with bodies that may be under way now.
    pub(super) fn limit(&self) -> usize {
        self.state().limit
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn succeeded(&self, era: u64, bytes: u64, now: Duration) {
        let mut state = self.state();
        if era != state.era {
            return;
        }
        state.round.successes += 1;
        state.round.weight += bytes + REQUEST_WEIGHT;
        if state.round.successes < state.limit {
            return;
        }
        let round =
            std::mem::replace(&mut state.round, Round { began: Some(now), ..Round::default() });
        let took = now.saturating_sub(round.began.unwrap_or(now)).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "rates are compared roughly")]
        let (weight, share) = (round.weight as f64, state.grew as f64 / state.limit as f64);
        let rate = weight / took.max(1e-6);
        // Half of what the last that came to it are worth where nothing else limits.
        let is_more = rate > state.best * (1.0 + 0.5 * share);
        let is_another_link = rate < state.best / 2.0;
        if is_more || is_another_link {
            state.best = rate;
        }
        if !is_more {
            (state.opening, state.grew) = (false, 1);
        } else if round.full {
            // INVARIANT: nothing is owed, for this round's requests began once all was paid.
            let wanted = if state.opening { state.limit.div_ceil(2) } else { 1 };
            let more = wanted.min(self.most - state.limit);
            (state.limit, state.grew) = (state.limit + more, more.max(1));
            self.slots.add_permits(more);
        }
    }

    fn slowed(&self, era: u64) {
        let mut state = self.state();
        if era != state.era {
            return;
        }
        state.era += 1;
        let limit = (state.limit / 2).max(1);
        let fewer = state.limit - limit;
        state.limit = limit;
        state.owed += fewer - self.slots.forget_permits(fewer);
        (state.round, state.best) = (Round::default(), 0.0);
        (state.opening, state.grew) = (false, 1);
    }
}

impl Slot<'_> {
    /// The request was answered.
    pub(super) fn succeeded(&self, bytes: u64, now: Duration) {
        if let Self::Heavy(heavy) = self {
            heavy.rate.succeeded(heavy.era, bytes, now);
        }
    }

    /// The store asked for less.
    pub(super) fn slowed(&self) {
        if let Self::Heavy(heavy) = self {
            heavy.rate.slowed(heavy.era);
        }
    }
}

impl Drop for HeavySlot<'_> {
    fn drop(&mut self) {
        let mut state = self.rate.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        if let Some(owed) = state.owed.checked_sub(1) {
            state.owed = owed;
            if let Some(permit) = self.permit.take() {
                permit.forget();
            }
        }
    }
}

fn grains(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(GRAIN)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn take<'a>(rate: &'a Rate, now: Duration) -> Option<Slot<'a>> {
        rate.begin(true, || now).now_or_never()
    }

    fn take_all<'a>(rate: &'a Rate, now: Duration) -> Vec<Slot<'a>> {
        std::iter::from_fn(|| take(rate, now)).collect()
    }

    /// A whole round of 1 MiB bodies that took so long.
    fn round(rate: &Rate, now: &mut Duration, took: Duration) {
        let slots = take_all(rate, *now);
        assert_eq!(slots.len(), rate.limit());
        *now += took;
        slots.iter().for_each(|slot| slot.succeeded(1 << 20, *now));
    }

    /// Many small requests, whose time is all delay, are soon as many as there may be.
    #[test]
    fn it_opens_by_halves_while_more_comes_through() {
        let rate = Rate::new(usize::MAX);
        let mut now = Duration::ZERO;
        for limit in [BEGIN, 24, 36, 54, MOST, MOST] {
            assert_eq!(rate.limit(), limit);
            round(&rate, &mut now, Duration::from_secs(1));
        }
    }

    #[test]
    fn it_stays_where_no_more_comes_through() {
        let rate = Rate::new(MOST);
        let mut now = Duration::ZERO;
        for _ in 0..100 {
            round(&rate, &mut now, Duration::from_secs(rate.limit() as u64));
        }
        assert_eq!(rate.limit(), 24);
    }

    #[test]
    fn it_grows_by_one_where_more_comes_later() {
        let rate = Rate::new(MOST);
        let mut now = Duration::ZERO;
        for took in [16, 24, 23] {
            round(&rate, &mut now, Duration::from_secs(took));
        }
        assert_eq!(rate.limit(), 25);
    }

    #[test]
    fn it_stays_where_it_is_not_used() {
        let rate = Rate::new(MOST);
        for second in 0..1000 {
            let now = Duration::from_secs(second * second);
            let slot = take(&rate, now).unwrap();
            slot.succeeded(1 << 20, now);
        }
        assert_eq!(rate.limit(), BEGIN);
    }

    /// Rows: G1.
    #[test]
    fn it_halves_once_for_all_that_were_under_way() {
        let rate = Rate::new(MOST);
        let slots = take_all(&rate, Duration::ZERO);
        slots.iter().for_each(Slot::slowed);
        assert_eq!(rate.limit(), BEGIN / 2);
        assert!(take(&rate, Duration::ZERO).is_none());
        drop(slots);
        let slots = take_all(&rate, Duration::ZERO);
        assert_eq!(slots.len(), BEGIN / 2);
        slots.iter().for_each(Slot::slowed);
        assert_eq!(rate.limit(), BEGIN / 4);
        drop(slots);
        for _ in 0..10 {
            take(&rate, Duration::ZERO).unwrap().slowed();
        }
        assert_eq!(rate.limit(), 1);
        assert_eq!(take_all(&rate, Duration::ZERO).len(), 1);
    }

    #[test]
    fn it_grows_again_after_it_was_halved() {
        let rate = Rate::new(MOST);
        let mut now = Duration::ZERO;
        let slots = take_all(&rate, now);
        slots[0].slowed();
        slots.iter().for_each(|slot| slot.succeeded(1 << 20, now));
        assert_eq!(rate.limit(), BEGIN / 2);
        drop(slots);
        for limit in BEGIN / 2..BEGIN {
            assert_eq!(rate.limit(), limit);
            round(&rate, &mut now, Duration::from_secs(1));
        }
    }

    #[test]
    fn it_begins_no_higher_than_it_may_go() {
        assert_eq!(take_all(&Rate::new(3), Duration::ZERO).len(), 3);
        assert_eq!(take_all(&Rate::new(0), Duration::ZERO).len(), 1);
    }

    #[test]
    fn bytes_are_limited_and_a_body_beyond_the_limit_goes_alone() {
        let rate = Rate::new(MOST);
        let whole = rate.room(BYTES_MAX * 2).now_or_never().unwrap();
        assert!(rate.room(1).now_or_never().is_none());
        drop(whole);
        let half = rate.room(BYTES_MAX / 2).now_or_never();
        assert!(half.is_some() && rate.room(BYTES_MAX / 2 + 1).now_or_never().is_none());
        let _other_half = rate.room(BYTES_MAX / 2).now_or_never().unwrap();
        assert!(rate.room(0).now_or_never().is_some());
    }

    #[test]
    fn requests_without_bodies_are_counted_apart() {
        let rate = Rate::new(1);
        let _heavy = take(&rate, Duration::ZERO).unwrap();
        let light = || rate.begin(false, Duration::default).now_or_never();
        let all: Vec<_> = std::iter::from_fn(light).collect();
        assert_eq!(all.len(), MOST);
    }
}
