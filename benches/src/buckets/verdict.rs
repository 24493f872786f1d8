//! Medians, ratios and what they are wished to be

use serde_json::{Value, json};

use super::entrant::Entrant;
use super::options::Options;
use super::store::Throttle;
use super::work::MIB;
use super::{Run, Turn};
use crate::figures::{conditions, number, table};
use crate::measure::median;
use crate::plot::Plot;

const GIB: f64 = 1_073_741_824.0;

/// What is wished for of a throttled store's rate, in per cent
const SHARE: f64 = 90.0;

/// Everything that was measured
#[derive(Debug)]
pub(super) struct Verdict<'a> {
    runs: &'a [Run],
}

/// Ours beside those who moved the same
struct Ratio<'a> {
    ours: &'a Run,
    best: &'a Run,
    /// The least that a peer took
    thrift: f64,
}

impl Ratio<'_> {
    fn speed(&self) -> f64 {
        wall(self.best) / wall(self.ours)
    }

    /// The thriftiest peer's processor seconds over ours
    fn processor(&self) -> f64 {
        self.thrift / processor(self.ours)
    }
}

impl<'a> Verdict<'a> {
    pub(super) fn of(runs: &'a [Run]) -> Self {
        Self { runs }
    }

    pub(super) fn text(&self) -> String {
        let ratios: Vec<_> = self.ratios().iter().map(ratio_row).collect();
        let titles = [
            "moved",
            "ours",
            "best peer",
            "best peer's seconds / ours",
            "wanted",
            "thriftiest peer's processor seconds / ours",
        ];
        let header = [
            "moved",
            "contender",
            "seconds",
            "MB/s",
            "processor s/GiB",
            "the store's",
            "peak MiB",
            "% of the store's rate",
        ];
        let rows: Vec<_> = self.runs.iter().map(row).collect();
        format!(
            "To a store of S3 (s3s-fs, a process of its own on this machine) and back; all in \
             memory; medians.\n\n{}\n{}",
            table(&titles, &ratios),
            table(&header, &rows)
        )
    }

    pub(super) fn figures(&self, options: &Options) -> Value {
        let mut all = conditions("buckets");
        let ratios = self.ratios();
        let ratios = ratios.iter().map(|ratio| {
            json!({
                "moved": moved(ratio.ours),
                "ours": ratio.ours.entrant.name(),
                "best_peer": ratio.best.entrant.name(),
                "ratio": ratio.speed(),
                "wanted": wanted(ratio.ours),
                "processor_ratio": ratio.processor(),
            })
        });
        let runs = self.runs.iter().map(|run| {
            let each = |of: fn(&Turn) -> f64| run.turns.iter().map(of).collect::<Vec<_>>();
            json!({
                "moved": moved(run),
                "files": run.case.files,
                "bytes": run.case.total(),
                "delay_milliseconds": u64::try_from(run.throttle.delay.as_millis()).unwrap_or(0),
                "store_bytes_a_second": run.throttle.rate,
                "name": run.entrant.name(),
                "seconds": each(|turn| turn.wall),
                "processor_seconds": each(|turn| turn.processor),
                "store_processor_seconds": each(|turn| turn.store),
                "peak_memory_bytes": run.turns.iter().map(|turn| turn.memory).collect::<Vec<_>>(),
                "percent": share(run),
            })
        });
        all["rounds"] = json!(options.rounds);
        all["ratios"] = ratios.collect();
        all["contenders"] = runs.collect();
        all
    }

    pub(super) fn plot(&self) -> Plot {
        let series: Vec<_> = Entrant::ALL.iter().map(|one| one.name().to_owned()).collect();
        let mut groups: Vec<(String, Vec<(usize, f64)>)> = Vec::new();
        for run in self.runs {
            let index = Entrant::ALL.iter().position(|one| *one == run.entrant).unwrap_or(0);
            let bar = (index, run.case.total() as f64 / wall(run) / 1e6);
            match groups.last_mut() {
                Some((name, bars)) if *name == moved(run) => bars.push(bar),
                _ => groups.push((moved(run), vec![bar])),
            }
        }
        Plot {
            title: String::from("To a store of S3 on this machine, and back"),
            vertical: String::from("MB/s, whole command"),
            horizontal: String::from("what is moved"),
            series,
            groups,
        }
    }

    fn ratios(&self) -> Vec<Ratio<'a>> {
        let ours = self.runs.iter().filter(|run| !run.entrant.is_peer());
        let ratios = ours.filter_map(|ours| {
            let beside = |run: &&Run| run.entrant.is_peer() && moved(run) == moved(ours);
            let peers = || self.runs.iter().filter(beside);
            let best = peers().min_by(|one, other| wall(one).total_cmp(&wall(other)))?;
            let thrift = peers().map(processor).min_by(f64::total_cmp)?;
            Some(Ratio { ours, best, thrift })
        });
        ratios.collect()
    }
}

fn ratio_row(ratio: &Ratio<'_>) -> Vec<String> {
    vec![
        moved(ratio.ours),
        ratio.ours.entrant.name().to_owned(),
        ratio.best.entrant.name().to_owned(),
        number(Some(ratio.speed())),
        wanted(ratio.ours).map_or_else(|| format!("{SHARE:.0} % of its rate"), |w| number(Some(w))),
        number(Some(ratio.processor())),
    ]
}

fn row(run: &Run) -> Vec<String> {
    let bytes = run.case.total() as f64;
    let memory = median(run.turns.iter().map(|turn| turn.memory as f64).collect());
    let store = median(run.turns.iter().map(|turn| turn.store).collect());
    vec![
        moved(run),
        run.entrant.name().to_owned(),
        number(Some(wall(run))),
        number(Some(bytes / wall(run) / 1e6)),
        number(Some(processor(run) * GIB / bytes)),
        number(Some(store * GIB / bytes)),
        format!("{:.0}", memory / MIB as f64),
        number(share(run)),
    ]
}

fn moved(run: &Run) -> String {
    let way = format!("{:?}", run.direction).to_lowercase();
    match run.throttle == Throttle::default() {
        true => format!("{way} {}", run.case.name()),
        false => {
            let (delay, rate) = (run.throttle.delay.as_millis(), run.throttle.rate / 1_000_000);
            format!("{way} {}, {delay} ms a request, {rate} MB/s", run.case.name())
        }
    }
}

/// The ratio that is wished for; nothing where a share is
fn wanted(run: &Run) -> Option<f64> {
    (run.throttle == Throttle::default()).then(|| run.case.wanted())
}

/// Of a throttled store's rate, in per cent
fn share(run: &Run) -> Option<f64> {
    let rate = run.throttle.rate as f64;
    (rate > 0.0).then(|| 100.0 * run.case.total() as f64 / wall(run) / rate)
}

fn wall(run: &Run) -> f64 {
    median(run.turns.iter().map(|turn| turn.wall).collect())
}

fn processor(run: &Run) -> f64 {
    median(run.turns.iter().map(|turn| turn.processor).collect())
}
