//! The runtime under a verb that reaches machines: connector, clean stops, the passing of time.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use xfer_core::connect::Connector;
use xfer_core::error::{ExitClass, Remedy, StopSignal, TransferError};
use xfer_core::event::SharedObserver;
use xfer_core::transport::ssh::SshOptions;

use super::Context;
use crate::problem::CliError;
use crate::prompt::TerminalPrompt;
use crate::reporter::Reporter;
use crate::settings::ConnectionSettings;

/// Time between two looks at what there is to show.
const TICK: Duration = Duration::from_millis(200);

/// What a verb needs to reach machines.
pub(super) struct Reach {
    /// Reaches them.
    pub(super) connector: Connector,
    /// Hears what happens.
    pub(super) observer: SharedObserver,
    /// Ends it cleanly.
    pub(super) cancel: CancellationToken,
}

/// The connector of the settings.
pub(super) fn connector(context: &Context) -> Result<Connector, CliError> {
    let settings = ConnectionSettings::resolve(&context.merged)?;
    let yes = context.merged.switch("yes", false);
    let seed = getrandom::u64().map_err(|error| {
        CliError::new(ExitClass::Other, "no-randomness", "the system gives no random number")
            .why(error)
    })?;
    let mut ssh = SshOptions::new(Arc::new(TerminalPrompt::new(!yes)), seed);
    settings.apply(&mut ssh);
    let connector = Connector::new(ssh, Some(context.around.state_directory()?));
    let named = settings.peer_token_file.or_else(|| context.around.peer_token_file());
    Ok(match named {
        Some(file) => connector.with_peer_tokens(file),
        None => connector,
    })
}

/// Runs what reaches machines, to its end or to a clean stop.
pub(super) fn run<T, F>(
    connector: Connector,
    reporter: &Arc<Reporter>,
    work: impl FnOnce(Reach) -> F,
) -> Result<T, TransferError>
where
    F: Future<Output = Result<T, TransferError>>,
{
    let runtime = crate::runtime::start()
        .map_err(|_| TransferError::Internal("the runtime could not be started"))?;
    let cancel = CancellationToken::new();
    let asked = Arc::new(OnceLock::new());
    let observer = Arc::clone(reporter) as SharedObserver;
    let ended = runtime.block_on(async {
        let (stop, asked) = (cancel.clone(), Arc::clone(&asked));
        // Before anything is told of the work that they stop.
        let signals = Signals::taken();
        let watch = tokio::spawn(async move {
            if let Ok(signals) = signals {
                signals.watch(&asked, || stop.cancel()).await;
            }
        });
        let work = work(Reach { connector, observer, cancel });
        tokio::pin!(work);
        let mut tick = tokio::time::interval(TICK);
        let ended = loop {
            tokio::select! {
                // What the work tells at once comes before any look at the time.
                biased;
                ended = &mut work => break ended,
                _ = tick.tick() => reporter.tick(),
            }
        };
        watch.abort();
        ended
    });
    // A call of the system that never returns must not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    match (ended, asked.get()) {
        (Err(TransferError::Stopped { .. }), Some(&signal)) => {
            Err(TransferError::Stopped { signal })
        }
        (ended, _) => ended,
    }
}

/// Signals that ask for a stop.
pub(super) struct Signals([Signal; 3]);

impl Signals {
    /// Begins to take them; needs a runtime.
    pub(super) fn taken() -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// The next that arrives.
    pub(super) async fn next(&mut self) -> StopSignal {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => StopSignal::Interrupt,
            _ = terminate.recv() => StopSignal::Terminate,
            _ = hangup.recv() => StopSignal::Hangup,
        }
    }

    /// The first stops cleanly; the second ends the process at once.
    pub(super) async fn watch(mut self, asked: &OnceLock<StopSignal>, stop: impl Fn()) {
        loop {
            let received = self.next().await;
            if asked.set(received).is_err() {
                let class = TransferError::Stopped { signal: received }.exit_class();
                std::process::exit(class.code().into());
            }
            stop();
        }
    }
}

/// What ends when a signal came; which one it was is filled in by [`run`].
pub(super) fn asked_to_stop() -> TransferError {
    TransferError::Stopped { signal: StopSignal::Interrupt }
}

/// How a verb ends that a signal ended.
pub(super) fn class_of(signal: StopSignal) -> ExitClass {
    TransferError::Stopped { signal }.exit_class()
}

/// A stop of what keeps nothing.
pub(super) fn stopped(error: TransferError) -> CliError {
    match error {
        TransferError::Stopped { signal } => CliError {
            what: format!("stopped by {signal}"),
            remedies: vec![Remedy::text("repeat the same command")],
            ..CliError::from(TransferError::Stopped { signal })
        },
        error => error.into(),
    }
}
