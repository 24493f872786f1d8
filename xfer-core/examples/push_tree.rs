//! Pushes a tree and says what became of it; Ctrl-C keeps what has arrived for the next run
//!
//! `cargo run --release -p xfer-core --example push_tree -- SOURCE DESTINATION`

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xfer_core::connect::Connector;
use xfer_core::engine::{Transfer, run};
use xfer_core::event::Event;
use xfer_core::location::Location;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut places = std::env::args_os().skip(1).map(|text| Location::parse(text.as_bytes()));
    let (Some(source), Some(destination)) = (places.next(), places.next()) else {
        return Err("usage: push_tree SOURCE DESTINATION".into());
    };
    let transfer = Transfer::new([source?], destination?);
    let connector = Connector::unattended(getrandom::u64()?);
    let show = |event: &Event| eprintln!("{event:?}");
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    tokio::spawn(async move { tokio::signal::ctrl_c().await.map(|()| stop.cancel()) });
    let summary = run(transfer, connector, Arc::new(show), cancel).await?;
    println!("{} entries, {:?}", summary.entries.selected, summary.class);
    Ok(())
}
