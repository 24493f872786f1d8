//! Pairs of trees from a seed, between which `sync --delete` is killed at a random moment and run
//! again: rsync and lstat find no difference in the end
//!
//! One seed is one case: a source, what stands at its destination, one to three rounds of edits,
//! a kill of the near or the far process in each, and the same command again until it ends with 0.
//! The trees follow from the seed alone. A kill comes with the Nth change below the destination, so
//! what the program was doing then is nearly the same each time.

mod edits;
mod grow;
mod kills;
mod stand;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use xfer_tests::oracle;
use xfer_tests::random::Random;

use edits::edit;
use grow::Grower;
use kills::{Fate, Victim};
use stand::{Round, Side, Stand};

/// Cases of the slice that runs every time, and where its seeds begin
const FEW: u64 = 300;
const SEED: u64 = 7_000_000;

/// Cases of the whole of it
const MANY: u64 = 10_000;

/// How often the same command may be told that something of what was killed still runs
const BUSY_AT_MOST: u32 = 50;

/// Cases that take place side by side; most of their time is waiting
const WORKERS: u64 = 4;

/// The options beside `--delete`, of which a case has one
const FLAGS: &[&[&str]] = &[
    &["--delete"],
    &["--delete"],
    &["--delete"],
    &["--delete=before"],
    &["--delete", "--checksum"],
    &["--delete", "--streams", "1"],
    &["--delete", "--verify", "received"],
    &["--delete", "--verify", "read-back"],
    &["--delete", "--order", "smallest"],
    &["--delete", "--inplace"],
];

#[test]
fn a_few_pairs_end_equal() {
    all(SEED, FEW);
}

/// `XFER_PAIRS` sets how many, `XFER_PAIRS_SEED` the first seed
#[test]
#[ignore = "half an hour; see CONTRIBUTING.md"]
fn many_pairs_end_equal() {
    all(variable("XFER_PAIRS_SEED").unwrap_or(SEED), variable("XFER_PAIRS").unwrap_or(MANY));
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// What became of all cases
#[derive(Debug, Default)]
struct Tally {
    next: AtomicU64,
    rounds: AtomicU64,
    killed: AtomicU64,
    failed: AtomicU64,
}

fn all(first: u64, count: u64) {
    let tally = Tally::default();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(count) {
            scope.spawn(|| work(first, count, &tally));
        }
    });
    let number = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (rounds, killed, failed) =
        (number(&tally.rounds), number(&tally.killed), number(&tally.failed));
    println!("{count} cases from seed {first}: {rounds} rounds, {killed} killed, {failed} failed");
    assert_eq!(failed, 0, "of {count} cases from seed {first}; see above for their seeds");
    // One that is repeated alone may end before its moment comes.
    assert!(count < 10 || killed > rounds / 4, "{killed} of {rounds} rounds were killed");
}

fn work(first: u64, count: u64, tally: &Tally) {
    let stand = Stand::new();
    loop {
        let number = tally.next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return;
        }
        let seed = first + number;
        let played = catch_unwind(AssertUnwindSafe(|| play(seed, &stand, tally)));
        if played.is_err() {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            eprintln!(
                "seed {seed} failed: XFER_PAIRS=1 XFER_PAIRS_SEED={seed} cargo test --release \
                 -p xfer-tests --test pairs -- --ignored"
            );
        } else if count >= MANY && (number + 1).is_multiple_of(500) {
            println!("{} cases", number + 1);
        }
    }
}

fn play(seed: u64, stand: &Stand, tally: &Tally) {
    let mut random = Random::new(seed);
    let side = Side::chosen(&mut random);
    let round = stand.round(side, FLAGS[index(&mut random, FLAGS.len())]);
    let mut grower = Grower::new(random.next_u64(), side != Side::Here);
    grower.pair(&round.source, &round.there);
    for number in 0..=random.below(3) {
        if number > 0 {
            let changed = if random.happens(0.3) { &round.there } else { &round.source };
            let mut edits = 1 + random.below(6);
            if changed == &round.there {
                edit(&round.source, edits, &mut grower);
                edits = 1;
            }
            edit(changed, edits, &mut grower);
        }
        tally.rounds.fetch_add(1, Ordering::Relaxed);
        if kill_and_repeat(stand, &round, &mut random) {
            tally.killed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether it was killed before it ended
fn kill_and_repeat(stand: &Stand, round: &Round, random: &mut Random) -> bool {
    let before = oracle::survey(&round.source);
    let victim = Victim::chosen(round.side, random);
    let entries = before.len() as u64 + oracle::survey(&round.there).len() as u64;
    let after = if random.happens(0.1) { 0 } else { random.below(3 * entries) };
    let fate = kills::kill_at(stand, round, victim, after);
    let mut told = vec![format!("{round:?}, {victim:?} killed after {after} changes: {fate:?}")];
    match fate {
        Fate::Killed => repeat(round, &mut told),
        Fate::Ended(code) => assert_eq!(code, 0, "nobody was killed{}", kept(round, &told)),
    }
    let judged = catch_unwind(|| {
        judge(round);
        let differences = oracle::differences(&before, &oracle::survey(&round.source));
        assert!(differences.is_empty(), "the source was touched: {differences:?}");
    });
    assert!(judged.is_ok(), "{}", kept(round, &told));
    if random.happens(0.2) {
        let last = round.run();
        assert_eq!(last.code(), 0, "{}{}", last.stderr, kept(round, &told));
        let moved = &last.result()["entries"]["moved"];
        assert_eq!(moved, 0, "all was there: {}{}", last.stdout, kept(round, &told));
    }
    fate == Fate::Killed
}

/// Panics unless both trees are equal; two names at the destination may be one file where the
/// source has two that agree, as with rsync
fn judge(round: &Round) {
    let changes = oracle::rsync_changes(&round.source, &round.there);
    assert!(changes.is_empty(), "rsync would change:\n{}", changes.join("\n"));
    let [source, there] = [&round.source, &round.there].map(|root| {
        let mut survey = oracle::survey(root);
        survey.values_mut().for_each(|facts| facts.linked_with.clear());
        survey
    });
    let differences = oracle::differences(&source, &there);
    assert!(differences.is_empty(), "lstat tells:\n{}", differences.join("\n"));
    oracle::assert_nothing_of_xfer(&round.there);
}

/// The same command until it ends with 0
fn repeat(round: &Round, told: &mut Vec<String>) {
    for _ in 0..BUSY_AT_MOST {
        let ended = round.run();
        if ended.code() == 0 {
            return;
        }
        told.push(format!("then exit {}: {}", ended.code(), ended.stderr));
        // What the killed one left at the far side holds the destination until it notices.
        assert!(round.side != Side::Here && ended.code() == 9, "{}", kept(round, told));
    }
    panic!("busy for ever: {}", kept(round, told));
}

/// What is known of a case that failed, whose trees stay
fn kept(round: &Round, told: &[String]) -> String {
    let place = round.keep();
    format!("\n{}\nthe trees are in {}", told.join("\n"), place.display())
}

fn index(random: &mut Random, length: usize) -> usize {
    usize::try_from(random.below(length as u64)).expect("small")
}

/// The entries below a directory, in order; the directory itself is not among them
fn entries(root: &Path) -> Vec<std::path::PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let paths = oracle::survey(root).into_keys().filter(|path| !path.is_empty());
    paths.map(|path| root.join(std::ffi::OsStr::from_bytes(&path))).collect()
}
