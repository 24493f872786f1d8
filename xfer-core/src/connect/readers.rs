//! Who reads a bucket back, where the user says so; by itself that is who moves its payload.

use std::sync::Arc;

use super::connected::Far;
use super::errands::{is_of_here, objects_host};
use super::{Connected, Connector};
use crate::endpoint::errands::Porter;
use crate::endpoint::object::ObjectEndpoint;
use crate::endpoint::object::store::patience::Patient;
use crate::error::{TransferError, UsageReason};
use crate::event::Event;
use crate::location::{Location, Machine};
use crate::options::{Reader, TransferOptions};

impl Connector {
    /// Has a destination read back from where the options say, as long as what comes back lives.
    ///
    /// # Errors
    /// Where that machine cannot be reached or has no agent that reads for others, or the
    /// destination is read by its own machine alone.
    pub(crate) async fn read_from(
        &self,
        (to, sink): (&Location, &Connected),
        options: &TransferOptions,
    ) -> Result<Option<Connected>, TransferError> {
        match (&options.verify.reader, &sink.far) {
            (Reader::Mover, _) => Ok(None),
            (Reader::Here, Far::Store(_, objects)) => {
                objects.read_by(None);
                Ok(None)
            }
            (Reader::Here, Far::Agent(_)) | (Reader::At(_), Far::Agent(_) | Far::Nothing) => {
                Err(UsageReason::ReadByItself(to.clone()).into())
            }
            (Reader::Here, _) => Ok(None),
            (Reader::At(reader), Far::Store(patient, objects)) => {
                let reading = self.reader(reader, (patient, objects), options).await?;
                let text = format!(
                    "what is read of {} to be compared is read by {}",
                    sink.place, reading.place
                );
                self.observer.observe(&Event::Notice(text));
                Ok(Some(reading))
            }
            (Reader::At(reader), _) => {
                Err(no_reader(reader, &format!("nobody else can ask {}", sink.place)))
            }
        }
    }

    /// A machine that reads a bucket for us.
    async fn reader(
        &self,
        reader: &Location,
        (patient, objects): (&Patient, &Arc<ObjectEndpoint>),
        options: &TransferOptions,
    ) -> Result<Connected, TransferError> {
        if !matches!(reader.machine, Machine::Ssh(_) | Machine::Platform(_) | Machine::Peer(_)) {
            return Err(no_reader(reader, "it is no machine"));
        }
        let is_near = objects_host(patient).is_some_and(|host| is_of_here(&host));
        if is_near || !objects.is_asked_by_others() {
            return Err(no_reader(reader, "that bucket can be asked from this machine alone"));
        }
        let reading = self.connect(&reader.machine, options).await?;
        let remote = match &reading.far {
            Far::Agent(remote) if remote.runs_errands() => Arc::clone(remote),
            _ => return Err(no_reader(reader, "no xfer of today runs there")),
        };
        let porter = Porter::new(remote as Arc<_>, reading.place.clone(), options.retry.stall);
        let tried = objects.try_from_there(&porter).await;
        tried.map_err(|error| no_reader(reader, &error.to_string()))?;
        objects.read_by(Some(&porter));
        Ok(reading)
    }
}

fn no_reader(reader: &Location, why: &str) -> TransferError {
    UsageReason::NoReader { reader: reader.clone(), why: why.to_owned() }.into()
}
