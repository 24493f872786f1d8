//! What is printed, where: results on standard output, words and progress on standard error, events
//! as NDJSON where they were asked for.

pub(crate) mod amounts;
pub(crate) mod json;
pub(crate) mod machine;
mod metrics;
pub(crate) mod probe;
mod sink;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use xfer_core::clock::Clock;
use xfer_core::error::{ExitClass, MachineReason};
use xfer_core::event::Phase;

use self::json::{Body, Line, RemedyBody, ResultBody, SCHEMA};
use self::metrics::Metrics;
use self::sink::Sink;
use crate::args::values::Color;
use crate::moment;
use crate::problem::CliError;
use crate::settings::OutputSettings;

/// Every way in which the program speaks, decided once.
pub(crate) struct Output {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
    settings: OutputSettings,
    terminal: bool,
    color: bool,
}

struct Inner {
    stdout: Sink,
    stderr: Sink,
    log: Option<Sink>,
    events: Option<Sink>,
    metrics: Option<Metrics>,
    seq: u64,
}

impl Output {
    /// Opens what the settings name.
    pub(crate) fn open(settings: OutputSettings, clock: Arc<dyn Clock>) -> Result<Self, CliError> {
        let terminal = rustix::termios::isatty(rustix::stdio::stderr());
        let color = match settings.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                terminal && !is_dumb() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        };
        let log = settings.log_file.as_deref().map(|path| Sink::file(path, true)).transpose()?;
        let events = settings.events.as_deref().map(|path| Sink::file(path, false)).transpose()?;
        let metrics = settings.metrics.as_deref().map(Metrics::open).transpose()?;
        let (stdout, stderr) = (Sink::stdout(), Sink::stderr());
        let inner = Inner { stdout, stderr, log, events, metrics, seq: 0 };
        Ok(Self { inner: Mutex::new(inner), clock, settings, terminal, color })
    }

    /// Standard streams alone, for what fails before settings are known.
    pub(crate) fn plain(json: bool, clock: Arc<dyn Clock>) -> Self {
        let settings = OutputSettings { json, ..OutputSettings::default() };
        let inner = Inner {
            stdout: Sink::stdout(),
            stderr: Sink::stderr(),
            log: None,
            events: None,
            metrics: None,
            seq: 0,
        };
        Self { inner: Mutex::new(inner), clock, settings, terminal: false, color: false }
    }

    /// The settings.
    pub(crate) fn settings(&self) -> &OutputSettings {
        &self.settings
    }

    /// The clock that stamps events.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Whether bars may be drawn.
    pub(crate) fn draws_bars(&self) -> bool {
        self.terminal && !is_dumb() && !self.settings.quiet
    }

    /// A result, on standard output; nothing there but events under `--json`.
    pub(crate) fn result(&self, text: &[u8]) {
        if !self.settings.json {
            self.lock().stdout.write(text);
        }
    }

    /// Words for a person.
    pub(crate) fn say(&self, text: &str) {
        if !self.settings.quiet {
            self.print(text, text);
        }
    }

    /// Words of what went wrong, printed though `-q` was given.
    pub(crate) fn warn(&self, text: &str) {
        self.print(text, text);
    }

    /// Words that `-v` asks for.
    pub(crate) fn detail(&self, level: u32, text: &str) {
        if self.settings.verbose >= level {
            self.say(text);
        }
    }

    /// An error, printed though `-q` was given.
    pub(crate) fn error(&self, error: &CliError) {
        let text = error.render();
        if self.color {
            let colored = text.replacen("xfer:", "\x1b[1;31mxfer:\x1b[0m", 1);
            self.print(&colored, &text);
        } else {
            self.print(&text, &text);
        }
    }

    /// An event, to all who read them.
    pub(crate) fn event(&self, body: &Body) {
        let mut inner = self.lock();
        if let Some(metrics) = &mut inner.metrics {
            metrics.hear(body, self.clock.elapsed(), self.clock.now());
        }
        if !self.settings.json && inner.events.is_none() {
            return;
        }
        let time = moment::format(self.clock.now());
        let line = Line { schema: SCHEMA, seq: inner.seq, time: &time, body };
        let Ok(mut bytes) = serde_json::to_vec(&line) else { return };
        bytes.push(b'\n');
        inner.seq += 1;
        let waits = matches!(body, Body::Entry { .. });
        if self.settings.json {
            inner.stdout.write(&bytes);
        }
        if let Some(events) = &mut inner.events {
            events.write(&bytes);
        }
        if !waits {
            inner.flush();
        }
    }

    /// The last event of a verb that has nothing to count, with what it would print.
    pub(crate) fn conclude(&self, text: Option<&str>) {
        let (message, output) = ("done".to_owned(), text.map(ToOwned::to_owned));
        self.last(ResultBody { message, output, ..result_of(ExitClass::Done, "done") });
    }

    /// Lines of events that another process told.
    pub(crate) fn relay(&self, lines: &[u8]) {
        if self.settings.json {
            let mut inner = self.lock();
            inner.stdout.write(lines);
            inner.flush();
        }
    }

    /// The last event.
    pub(crate) fn last(&self, result: ResultBody) {
        let elapsed_s = if result.elapsed_s > 0.0 {
            result.elapsed_s
        } else {
            self.clock.elapsed().as_secs_f64()
        };
        self.event(&Body::Result(Box::new(ResultBody { elapsed_s, ..result })));
    }

    /// Writes what waits; why something that was asked for could not be written, where that is so.
    pub(crate) fn finish(&self) -> Option<Errno> {
        let mut inner = self.lock();
        inner.flush();
        let files = [&inner.events, &inner.log];
        let lost = files.into_iter().flatten().find_map(Sink::lost);
        let lost = lost.or_else(|| inner.metrics.as_ref().and_then(Metrics::lost));
        inner.stdout.lost().or(lost)
    }

    fn print(&self, text: &str, plain: &str) {
        let mut inner = self.lock();
        // Results come before the words that follow them.
        inner.stdout.flush();
        inner.stderr.write(text.as_bytes());
        inner.stderr.flush();
        if let Some(log) = &mut inner.log {
            let time = moment::format(self.clock.now());
            for line in plain.lines() {
                log.write(format!("{time} {line}\n").as_bytes());
            }
            log.flush();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the terminal obeys no commands.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// The outcome of a failure.
pub(crate) fn result_of_error(error: &CliError) -> ResultBody {
    let remedies = error
        .remedies
        .iter()
        .map(|remedy| RemedyBody { text: remedy.text.clone(), argv: remedy.argv.clone() });
    ResultBody {
        message: error.what.clone(),
        remedies: remedies.collect(),
        machine_state: error.machine_state.map(MachineReason::state),
        ..result_of(error.class, error.reason)
    }
}

/// An outcome of a class, nothing counted.
pub(crate) fn result_of(class: ExitClass, reason: &'static str) -> ResultBody {
    let status = match class {
        ExitClass::Done => "done",
        ExitClass::Partial | ExitClass::SourceChanged => "partial",
        ExitClass::Unsafe | ExitClass::Policy | ExitClass::Usage => "refused",
        ExitClass::Interrupted | ExitClass::Terminated => "stopped",
        _ => "failed",
    };
    ResultBody {
        exit_code: class.code(),
        status,
        reason,
        retry: class.retry().name(),
        ..ResultBody::default()
    }
}

impl Inner {
    fn flush(&mut self) {
        self.stdout.flush();
        if let Some(events) = &mut self.events {
            events.flush();
        }
    }
}

/// A phase as events name it.
pub(crate) fn phase_name(phase: Option<Phase>) -> &'static str {
    match phase {
        None | Some(Phase::Connect) => "connect",
        Some(Phase::Scan) => "scan",
        Some(Phase::Send) => "send",
        Some(Phase::Verify) => "verify",
    }
}
