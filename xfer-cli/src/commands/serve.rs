//! `xfer serve`: a standing peer, and the tokens that let others in.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use xfer_core::agent::standing::key::{self, PeerKeyError};
use xfer_core::agent::standing::tokens::{Grant, TokenFile, TokenFileError};
use xfer_core::agent::standing::{StandingOptions, StandingPeer};
use xfer_core::disk::Errno;
use xfer_core::disk::named_roots::{NamedRootError, NamedRoots};
use xfer_core::disk::secret::SecretError;
use xfer_core::disk::state::StateDirectory;
use xfer_core::error::{ExitClass, StopSignal, TransferError};
use xfer_core::transport::keys::SessionKey;
use xfer_core::transport::peer::Token;
use xfer_protocol::path::Escaped;

use super::{Context, reach};
use crate::Outcome;
use crate::args::values::{self, Time};
use crate::problem::CliError;

/// What only a new token has.
const OF_NEW_TOKENS: [&str; 3] = ["read-only", "token-root", "expires"];

/// Serves until it is stopped, or adds a token.
pub(super) fn serve(context: &Context) -> Outcome {
    let merged = &context.merged;
    let file = merged.path("token-file").ok_or_else(|| missing("--token-file FILE"))?;
    let (roots, directories) = roots(context)?;
    refuse_what_is_ours(context, &file, &directories)?;
    let tokens = TokenFile::new(file);
    let adds = merged.switch("new-token", false);
    let is_first = match tokens.read() {
        Err(TokenFileError::Unreadable(error)) if error.is_missing() => true,
        known => {
            known.map_err(bad_tokens)?;
            false
        }
    };
    let given = |id: &&&str| !merged.all(id).is_empty();
    if let (false, false, Some(id)) = (adds, is_first, OF_NEW_TOKENS.iter().find(given)) {
        let what = format!("--{id} is of a new token, and none is made");
        return Err(CliError::usage("no-new-token", what).next("add --new-token"));
    }
    // All that may be refused is, before anything is written.
    let listen = merged.value("listen", values::listen)?;
    if !adds && (listen.is_none() || directories.is_empty()) {
        return Err(missing("--listen ADDR:PORT and --root NAME=PATH"));
    }
    let key = peer_key(context)?;
    if adds || is_first {
        let grant = grant(context, &roots)?;
        print_new_token(context, &tokens, &key, &grant)?;
    }
    match listen {
        Some(listen) if !adds => stand(context, StandingOptions { listen, key, tokens, roots }),
        _ => {
            context.output.conclude(None);
            Ok(ExitClass::Done)
        }
    }
}

/// Opens the ports, and serves to the first signal.
fn stand(context: &Context, options: StandingOptions) -> Outcome {
    let output = &context.output;
    let (listen, key) = (options.listen, options.key.digest());
    let names: Vec<_> = options.roots.names().map(ToOwned::to_owned).collect();
    let failed = |error: std::io::Error| {
        CliError::new(ExitClass::Other, "cannot-listen", format!("cannot listen at {listen}"))
            .why(error)
            .next("name an address of this machine and a port that is free for TCP and UDP")
    };
    let runtime = crate::runtime::start().map_err(failed)?;
    let signal: Result<StopSignal, std::io::Error> = runtime.block_on(async {
        let mut signals = reach::Signals::taken()?;
        let peer = StandingPeer::bind(options)?;
        let address: SocketAddr = peer.address();
        output.result(format!("listening {address}\n").as_bytes());
        output.say(&format!(
            "xfer: serving {} at {address}, TLS by TCP and QUIC by UDP; key {key:?}\n",
            names.join(", ")
        ));
        // Whoever waits for that line has it now, `-q` or not.
        let _written = output.finish();
        let serving = tokio::spawn(peer.run());
        let signal = signals.next().await;
        serving.abort();
        Ok(signal)
    });
    let signal = signal.map_err(failed)?;
    runtime.shutdown_timeout(Duration::from_millis(500));
    Err(reach::stopped(TransferError::Stopped { signal }))
}

fn roots(context: &Context) -> Result<(NamedRoots, Vec<std::path::PathBuf>), CliError> {
    let (mut roots, mut directories) = (NamedRoots::default(), Vec::new());
    for typed in context.merged.all("root") {
        let bytes = typed.as_bytes();
        let shown = Escaped(bytes);
        let bad = |why: String| {
            CliError::usage("bad-value", format!("--root {shown}: {why}"))
                .next("write --root NAME=PATH, such as --root data=/srv/data")
        };
        let at = bytes.iter().position(|&b| b == b'=');
        let at = at.ok_or_else(|| bad("expected NAME=PATH".to_owned()))?;
        let name = std::str::from_utf8(&bytes[..at]).unwrap_or_default();
        let directory = bytes[at + 1..].to_vec();
        directories.push(Path::new(std::ffi::OsStr::from_bytes(&directory)).to_owned());
        roots.add(name, directory).map_err(|error| match error {
            NamedRootError::Closed(Errno::NOENT | Errno::NOTDIR) => {
                let what = format!("--root {shown}: there is no such directory");
                CliError::new(ExitClass::NotFound, "not-found", what)
                    .next("make it, or look at the spelling")
            }
            error => bad(error.to_string()),
        })?;
    }
    Ok((roots, directories))
}

/// What lets people in, and what proves who we are, is no file for others.
fn refuse_what_is_ours(
    context: &Context,
    file: &Path,
    directories: &[std::path::PathBuf],
) -> Result<(), CliError> {
    let state = context.around.state_directory()?;
    for directory in directories {
        for (ours, what) in [(file, "the token file"), (&*state, "the state directory")] {
            if StateDirectory::lies_in(ours, directory) {
                let shown = Escaped(directory.as_os_str().as_bytes());
                let what = format!("{what} lies in the root {shown}, where others could reach it");
                return Err(CliError::config("own-files-in-root", what)
                    .next("keep it elsewhere, or serve another directory"));
            }
        }
    }
    Ok(())
}

fn peer_key(context: &Context) -> Result<SessionKey, CliError> {
    let path = context.around.state_directory()?;
    let opened = StateDirectory::open(&path).map_err(PeerKeyError::from);
    opened.and_then(|state| key::kept_in(&state, random()?)).map_err(|error| {
        let what = format!("no key to be known by, in {}", Escaped(path.as_os_str().as_bytes()));
        let error_of = CliError::config("peer-key-unusable", what).why(&error);
        match error {
            PeerKeyError::Secret(SecretError::Exposed(_)) => {
                error_of.next(format!("chmod 600 '{}'", path.join("peer.key").display()))
            }
            _ => error_of.next("see why, and repeat the same command"),
        }
    })
}

fn random() -> Result<u64, PeerKeyError> {
    getrandom::u64().map_err(|_| xfer_core::transport::keys::KeyError.into())
}

fn grant(context: &Context, roots: &NamedRoots) -> Result<Grant, CliError> {
    let merged = &context.merged;
    let names: Vec<String> = merged.values("token-root", values::root_name)?;
    let served: Vec<&str> = roots.names().collect();
    if let Some(name) = names.iter().find(|n| !served.is_empty() && !served.contains(&&***n)) {
        let what = format!("--token-root {name}: no root of this name is served");
        return Err(CliError::usage("bad-value", what).next("name one of those of --root"));
    }
    let now = context.around.now.seconds;
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let expires = merged.value("expires", values::time)?.map(|time| match time {
        Time::Moment(moment) => moment.seconds,
        Time::Span(span) => now.saturating_add(seconds(span)),
    });
    let writes = !merged.switch("read-only", false);
    Ok(Grant { roots: (!names.is_empty()).then_some(names), writes, expires })
}

/// Adds a token to the file and shows it, this once. It is no event and is not logged.
fn print_new_token(
    context: &Context,
    tokens: &TokenFile,
    key: &SessionKey,
    grant: &Grant,
) -> Result<(), CliError> {
    let output = &context.output;
    if output.settings().json {
        return Err(CliError::usage("token-in-events", "a token is never told as an event")
            .next("make it without --json: xfer serve --token-file FILE --new-token"));
    }
    let unusable = |why: &dyn std::fmt::Display| {
        CliError::new(ExitClass::Other, "no-randomness", "no token could be made").why(why)
    };
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| unusable(&error))?;
    let token = Token::new(key.digest(), secret);
    let verifier = token.verifier().map_err(|error| unusable(&error))?;
    tokens.add(verifier, grant).map_err(bad_tokens)?;
    output.result(format!("{}\n", token.reveal()).as_bytes());
    output.say(
        "xfer: this token is shown once; its holder writes it to a file (chmod 600) and repeats \
         with --peer-token-file FILE\n",
    );
    match output.finish() {
        Some(_) => Err(CliError::new(ExitClass::Other, "output-lost", "the token was lost")
            .next("make another one: xfer serve --token-file FILE --new-token")),
        None => Ok(()),
    }
}

fn bad_tokens(error: TokenFileError) -> CliError {
    let next = match &error {
        TokenFileError::Exposed(path) => format!("chmod 600 '{}'", path.display()),
        TokenFileError::Malformed { .. } => "correct that line, or take it away".to_owned(),
        _ => "name a file of yours: --token-file FILE".to_owned(),
    };
    let reason = match &error {
        TokenFileError::Exposed(_) => "config-exposed",
        _ => "token-file-unusable",
    };
    CliError::config(reason, error.to_string()).next(next)
}

fn missing(what: &str) -> CliError {
    CliError::usage("missing-operand", format!("{what} is missing"))
        .next("xfer serve --listen ADDR:PORT --token-file FILE --root NAME=PATH")
}
