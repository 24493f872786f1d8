//! Pushes a tree and says what became of it; Ctrl-C keeps what has arrived for the next run
//!
//! `cargo run --release -p xfer-core --example push_tree -- SOURCE DESTINATION`

use std::error::Error;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xfer_core::connect::Connector;
use xfer_core::engine::{self, Transfer};
use xfer_core::event::Event;
use xfer_core::location::Location;
use xfer_core::options::TransferOptions;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut places = std::env::args_os().skip(1).map(|text| Location::parse(text.as_bytes()));
    let (Some(source), Some(destination)) = (places.next(), places.next()) else {
        return Err("usage: push_tree SOURCE DESTINATION".into());
    };
    let (sources, destination) = (vec![source?], destination?);
    let options = TransferOptions::default();
    let transfer = Transfer { sources, destination, options, plan_only: false };
    let connector = Connector::new(SshOptions::new(Arc::new(NoPrompt), getrandom::u64()?), None);
    let cancel = CancellationToken::new();
    let (stop, show) = (cancel.clone(), |event: &Event| eprintln!("{event:?}"));
    tokio::spawn(async move { tokio::signal::ctrl_c().await.map(|()| stop.cancel()) });
    let summary = engine::run(transfer, connector, Arc::new(show), cancel).await?;
    println!("{} entries, {:?}", summary.entries.selected, summary.class);
    Ok(())
}
