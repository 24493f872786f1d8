//! The edges of the process: what is set right before anything runs, and the number at the end.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use xfer_core::disk::process;
use xfer_core::error::ExitClass;

use crate::Outcome;
use crate::output::{Output, result_of_error};
use crate::problem::CliError;

/// Where the first panic was.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Sets right what a caller may have left wrong.
pub(crate) fn prepare() {
    process::prepare();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload().downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.payload().downcast_ref::<String>().cloned());
        let mut first = PANIC.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(format!("{place}: {}", text.unwrap_or_default()));
    }));
}

/// Runs what must not end the process by a panic.
pub(crate) fn catch_bugs<T>(run: impl FnOnce() -> Result<T, CliError>) -> Result<T, CliError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let place = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(CliError::new(ExitClass::Internal, "internal", "a bug of xfer; nothing was concluded")
            .why(place.unwrap_or_default())
            .next("please report it, with the output of the same command and -vv"))
    })
}

/// Whether events were asked for, read before anything is understood, so that also a command line
/// that makes no sense ends with a `result`.
pub(crate) fn wants_json(words: &[OsString]) -> bool {
    let typed = words.iter().skip(1).take_while(|word| *word != "--").any(|word| word == "--json");
    let twin = std::env::var_os("XFER_JSON");
    typed || twin.is_some_and(|value| ["1", "true", "yes", "on"].iter().any(|yes| value == *yes))
}

/// Says what went wrong and gives the number. A result that could not be written is no success.
pub(crate) fn end(output: &Output, outcome: Outcome) -> ExitCode {
    let class = match outcome {
        Ok(class) => class,
        Err(error) => {
            output.error(&error);
            output.last(result_of_error(&error));
            error.class
        }
    };
    match output.finish() {
        Some(errno) if class == ExitClass::Done => {
            if errno != Errno::PIPE {
                let lost = CliError::new(ExitClass::Other, "output-lost", "output was lost");
                let next = "repeat it with its output in a file that can be written";
                output.error(&lost.why(errno).next(next));
            }
            ExitClass::Other.code().into()
        }
        _ => class.code().into(),
    }
}
