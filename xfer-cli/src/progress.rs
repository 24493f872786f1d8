//! Progress for a person: bars on a terminal, a line now and then elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use xfer_core::event::{Phase, PlanTotals, Progress};
use xfer_protocol::path::RelPath;

use crate::output::{Output, amounts, phase_name};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Bars of large files at a time.
const FILE_BARS_MAX: usize = 6;

/// Characters of a file's name beside its bar.
const NAME_CHARS_MAX: usize = 32;

/// What there is to show.
pub(crate) struct View<'a> {
    pub(crate) elapsed: Duration,
    pub(crate) phase: Option<Phase>,
    pub(crate) progress: Progress,
    pub(crate) plan: PlanTotals,
    pub(crate) rate_now: u64,
    pub(crate) rate_average: u64,
    pub(crate) eta: Option<Duration>,
    pub(crate) streams: usize,
    /// Large files: bytes there, bytes in all.
    pub(crate) files: &'a BTreeMap<RelPath, (u64, u64)>,
}

/// How it is shown.
#[derive(Default)]
pub(crate) enum Display {
    /// Not at all.
    #[default]
    Silent,
    /// As a line now and then.
    Lines {
        /// When the next is due.
        next: Duration,
    },
    /// As bars.
    Bars(Box<Bars>),
}

/// The bars on a terminal.
pub(crate) struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    files: HashMap<RelPath, ProgressBar>,
}

impl Display {
    /// What fits where the words go.
    pub(crate) fn choose(output: &Output) -> Self {
        if output.settings().quiet || output.settings().no_progress {
            Self::Silent
        } else if output.draws_bars() {
            Self::Bars(Box::new(Bars::new()))
        } else {
            Self::Lines { next: output.clock().elapsed() + LINE_EVERY }
        }
    }

    /// Shows the view; gives a line where lines are shown and one is due.
    pub(crate) fn show(&mut self, view: &View<'_>) -> Option<String> {
        match self {
            Self::Silent => None,
            Self::Lines { next } if view.elapsed < *next => None,
            Self::Lines { next } => {
                *next = view.elapsed + LINE_EVERY;
                Some(format!("xfer: {}\n", summary(view)))
            }
            Self::Bars(bars) => {
                bars.show(view);
                None
            }
        }
    }

    /// Prints something while the bars stand aside.
    pub(crate) fn suspend(&self, print: impl FnOnce()) {
        match self {
            Self::Bars(bars) => bars.all.suspend(print),
            _ => print(),
        }
    }

    /// Takes the bars away.
    pub(crate) fn clear(&mut self) {
        if let Self::Bars(bars) = self {
            for (_, bar) in bars.files.drain() {
                bar.finish_and_clear();
            }
            bars.overall.finish_and_clear();
        }
    }
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let overall = all.add(ProgressBar::new(0).with_style(style("{bar:28} {msg}")));
        Self { all, overall, files: HashMap::new() }
    }

    fn show(&mut self, view: &View<'_>) {
        let total = view.plan.payload_expected(&view.progress);
        self.overall.set_length(total.max(1));
        self.overall.set_position(view.progress.payload_bytes);
        self.overall.set_message(summary(view));
        self.files.retain(|path, bar| {
            let under_way = view.files.get(path).is_some_and(|(done, size)| done < size);
            if !under_way {
                bar.finish_and_clear();
                self.all.remove(bar);
            }
            under_way
        });
        for (path, (done, size)) in view.files.iter().filter(|(_, (done, size))| done < size) {
            if let Some(bar) = self.files.get(path) {
                bar.set_position(*done);
            } else if self.files.len() < FILE_BARS_MAX {
                let bar = ProgressBar::new(*size).with_style(style("{bar:28} {percent:>3}% {msg}"));
                let bar = self.all.add(bar.with_message(short_name(path)));
                bar.set_position(*done);
                self.files.insert(path.clone(), bar);
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// `send 1.2 GB of 3.4 GB, 12 files, 98 MB/s now, 101 MB/s average, 22.0 s left, 4 streams`
fn summary(view: &View<'_>) -> String {
    let mut words = vec![match view.plan.complete {
        true => format!(
            "{} {} of {}",
            phase_name(view.phase),
            amounts::bytes(view.progress.payload_bytes),
            amounts::bytes(view.plan.payload_expected(&view.progress))
        ),
        false => format!(
            "{} {}, {} found so far",
            phase_name(view.phase),
            amounts::bytes(view.progress.payload_bytes),
            amounts::entries(view.plan.entries)
        ),
    }];
    if view.progress.files_done > 0 {
        words.push(format!("{} files", amounts::count(view.progress.files_done)));
    }
    if view.progress.reused_bytes > 0 {
        words.push(format!("{} re-used", amounts::bytes(view.progress.reused_bytes)));
    }
    if view.progress.verified_bytes > 0 {
        words.push(format!("{} verified", amounts::bytes(view.progress.verified_bytes)));
    }
    if view.rate_average > 0 {
        words.push(format!("{}/s now", amounts::bytes(view.rate_now)));
        words.push(format!("{}/s average", amounts::bytes(view.rate_average)));
    }
    if let Some(eta) = view.eta {
        words.push(format!("{} left", amounts::span(eta)));
    }
    if view.streams > 1 {
        words.push(format!("{} streams", view.streams));
    }
    words.join(", ")
}

/// The end of a path, which tells more than its beginning.
fn short_name(path: &RelPath) -> String {
    let text = path.to_string();
    let length = text.chars().count();
    if length <= NAME_CHARS_MAX {
        return text;
    }
    let tail: String = text.chars().skip(length - NAME_CHARS_MAX + 1).collect();
    format!("…{tail}")
}
