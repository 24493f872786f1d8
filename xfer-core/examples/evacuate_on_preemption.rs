//! Polls a rented machine, and saves its files as soon as its platform is about to take it away
//!
//! `cargo run --release -p xfer-core --example evacuate_on_preemption -- vast:ID:/data s3://B/run`
//!
//! A line of a token on stdout means that all is proven elsewhere and that the machine may go: give
//! it to `release::destroy`, or in a file to `xfer destroy`. Nothing is destroyed here.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use xfer_core::connect::Connector;
use xfer_core::discover::{DangerClock, MachineRow, MachineState};
use xfer_core::engine::release::{self, GateRequest};
use xfer_core::engine::{Transfer, run};
use xfer_core::event::{Event, SharedObserver};
use xfer_core::gate::policy::Policy;
use xfer_core::gate::reason::Reason;
use xfer_core::gate::verdict::Verdict;
use xfer_core::location::{Location, Machine, PlatformMachine};
use xfer_core::options::VerifyLevel;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};

/// Time between two looks at the platform
const PAUSE: Duration = Duration::from_secs(15);

/// Seconds before the end of a contract in which a copy begins
const AHEAD: i64 = 6 * 3600;

type Failed = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut places = std::env::args_os().skip(1).map(|text| Location::parse(text.as_bytes()));
    let (Some(source), Some(destination)) = (places.next(), places.next()) else {
        return Err("usage: evacuate_on_preemption PLATFORM:ID:/path DESTINATION".into());
    };
    let (source, destination) = (source?, destination?);
    let Machine::Platform(machine) = &source.machine else {
        return Err("name a machine of a platform, as in vast:33402296:/workspace".into());
    };
    // Receipts and tokens count only where they were made, so the state must last.
    let state = std::env::var_os("HOME").ok_or("HOME is not set")?;
    let state = std::path::Path::new(&state).join(".local/state/xfer");
    let ssh = SshOptions::new(Arc::new(NoPrompt), getrandom::u64()?);
    let connector = Connector::new(ssh, Some(state));
    let why = wait_for_danger(&connector, machine).await?;
    eprintln!("{machine}: {why}; its files are copied now");
    match evacuate(&connector, source, destination).await? {
        Some(token) => print!("{token}"),
        None => return Err("it may not be destroyed: see the reasons above".into()),
    }
    Ok(())
}

/// Returns as soon as the platform says that the machine may go soon, with how it says so.
///
/// A platform that does not answer is no danger and no safety: it is asked again.
async fn wait_for_danger(
    connector: &Connector,
    machine: &PlatformMachine,
) -> Result<String, Failed> {
    let clock = connector.clock();
    loop {
        match connector.machine(machine).await {
            Ok(row) => {
                if let Some(why) = danger(&row, clock.now().seconds) {
                    return Ok(why);
                }
            }
            Err(error) => eprintln!("{error}"),
        }
        clock.pause(PAUSE).await;
    }
}

/// Why a machine may be gone soon.
fn danger(row: &MachineRow, now: i64) -> Option<String> {
    if row.state == MachineState::Stopping {
        return Some("it is about to be stopped".to_owned());
    }
    row.clocks.iter().find_map(|clock| match clock {
        DangerClock::ContractEnds(at) if at - now < AHEAD => {
            Some(format!("its contract ends in {} min", (at - now) / 60))
        }
        _ => None,
    })
}

/// Copies, reads back and asks the gate; gives the line of a token where the machine may go.
async fn evacuate(
    connector: &Connector,
    source: Location,
    destination: Location,
) -> Result<Option<String>, Failed> {
    let observer: SharedObserver = Arc::new(|event: &Event| {
        if let Event::Notice(text) = event {
            eprintln!("{text}");
        }
    });
    let cancel = CancellationToken::new();
    let mut transfer = Transfer::new([source.clone()], destination);
    transfer.options.verify.level = VerifyLevel::ReadBack;
    let options = transfer.options.clone();
    run(transfer, connector.clone(), Arc::clone(&observer), cancel.clone()).await?;
    let request = GateRequest {
        machine: source,
        roots: Vec::new(),
        receipts: Vec::new(),
        policy: Policy::default(),
        load_command: None,
        acknowledged: [].into(),
        options,
    };
    let judged = release::gate(request, connector.clone(), observer, cancel).await?;
    if let Verdict::Hold(reasons) = &judged.verdict {
        for reason in reasons {
            let next = match reason {
                // What an orchestrator can do by itself: copy what was written meanwhile.
                Reason::ContentDiffers(_) | Reason::NewFile(_) => "copy again".to_owned(),
                reason => reason.remedy(),
            };
            eprintln!("hold: {}: {reason}; {next}", reason.id());
        }
    }
    Ok(judged.token)
}
