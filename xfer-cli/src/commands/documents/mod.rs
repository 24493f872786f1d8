//! `xfer completions`, `xfer man`, `xfer version`: what the program says of itself.

use std::str::FromStr;

use clap_complete::Shell;
use xfer_core::error::ExitClass;

use super::done;
use crate::Outcome;
use crate::args::command::command;
use crate::output::Output;
use crate::problem::CliError;

/// Prints the completions of a shell.
pub(super) fn completions(shell: &str, output: &Output) -> Outcome {
    let shell =
        Shell::from_str(shell).map_err(|_| CliError::usage("bad-value", "no such shell").help())?;
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "xfer", &mut text);
    done(output, &String::from_utf8_lossy(&text))
}

/// Prints the manual page.
pub(super) fn manual(output: &Output) -> Outcome {
    done(output, &manual_page()?)
}

/// Prints the version.
pub(super) fn version(output: &Output) -> Outcome {
    done(output, &format!("xfer {}\n", env!("CARGO_PKG_VERSION")))
}

/// The manual page: the program, then a section for each verb, then exit codes and files.
fn manual_page() -> Result<String, CliError> {
    let failed = |error: std::io::Error| {
        CliError::new(ExitClass::Internal, "internal", "the manual page").why(error)
    };
    let mut program = command();
    program.build();
    let mut page = Vec::new();
    let manual = clap_mangen::Man::new(program.clone()).date("").source("xfer").manual("xfer");
    manual.render_title(&mut page).map_err(failed)?;
    manual.render_name_section(&mut page).map_err(failed)?;
    manual.render_synopsis_section(&mut page).map_err(failed)?;
    manual.render_description_section(&mut page).map_err(failed)?;
    let mut text = String::from_utf8_lossy(&page).into_owned();
    for verb in program.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        text.push_str(&verb_section(verb).map_err(failed)?);
        for inner in verb.get_subcommands() {
            text.push_str(&verb_section(inner).map_err(failed)?);
        }
    }
    text.push_str(".SH \"EXIT STATUS\"\n");
    for class in ExitClass::all() {
        text.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", class.code(), class.meaning()));
    }
    text.push_str(FILES);
    Ok(text)
}

fn verb_section(verb: &clap::Command) -> Result<String, std::io::Error> {
    let name = verb.get_bin_name().unwrap_or_else(|| verb.get_name()).to_owned();
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    let mut body = Vec::new();
    let manual = clap_mangen::Man::new(verb.clone());
    manual.render_synopsis_section(&mut body)?;
    manual.render_options_section(&mut body)?;
    let body = String::from_utf8_lossy(&body).replace(".SH ", ".SS ");
    Ok(format!(".SH \"{}\"\n{about}\n{body}", name.to_uppercase()))
}

const FILES: &str = r#".SH FILES
.TP
\fI$XDG_CONFIG_HOME/xfer/config.toml\fR, \fI/etc/xfer/config.toml\fR
Settings: a long flag's name without dashes, and its value. \fBXFER_CONFIG\fR names another file.
.TP
\fI.xfer.toml\fR
Settings of a project, in the working directory: filters, streams, bwlimit and verify alone.
.TP
\fI$XDG_STATE_HOME/xfer\fR
Records and receipts.
.TP
\fI.xferignore\fR
Patterns of what is left out, in any directory of a source.
"#;

#[cfg(test)]
mod tests;
