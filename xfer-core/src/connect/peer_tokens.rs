//! The user's own tokens for standing peers, from a file and never from a command line.
//!
//! Each line is `HOST:PORT TOKEN`, or `TOKEN` alone for any peer; `#` begins a remark.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::disk::settings_file;
use crate::error::{ConfigReason, Failure, Remedy, TransferError};
use crate::location::PeerHost;
use crate::transport::peer::Token;

/// Bytes of such a file at most
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Where tokens are kept; read once, when the first is wanted, so that a pipe will do.
#[derive(Debug, Default)]
pub(super) struct PeerTokens {
    file: Option<PathBuf>,
    read: OnceLock<Result<Vec<Row>, TransferError>>,
}

#[derive(Clone, Debug)]
struct Row {
    /// None for any.
    host: Option<String>,
    token: Token,
}

impl PeerTokens {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file: Some(file), read: OnceLock::new() }
    }

    /// The token for a peer.
    pub(super) fn find(&self, host: &PeerHost) -> Result<Token, TransferError> {
        let place = host.to_string();
        let missing = || {
            let failure = Failure::new(place.clone(), ConfigReason::TokenMissing);
            let next = "write the token that the peer printed to a file of yours (chmod 600), and \
                        repeat with --peer-token-file FILE";
            TransferError::Config(failure.next(Remedy::text(next)))
        };
        let Some(file) = &self.file else { return Err(missing()) };
        let rows = self.read.get_or_init(|| read(file)).as_ref().map_err(Clone::clone)?;
        let of_host = rows.iter().find(|row| row.host.as_deref() == Some(place.as_str()));
        let row = of_host.or_else(|| rows.iter().find(|row| row.host.is_none()));
        row.map(|row| row.token.clone()).ok_or_else(missing)
    }
}

fn read(path: &Path) -> Result<Vec<Row>, TransferError> {
    let place = path.to_string_lossy();
    let failure = |reason| Failure::new(place.clone(), reason);
    let file = match settings_file::read_stream(path, FILE_BYTES_MAX) {
        Ok(file) => file,
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        Err(error) => {
            return Err(TransferError::Config(failure(ConfigReason::Token).because(error)));
        }
    };
    if file.mode & 0o077 != 0 {
        let next = Remedy::text(format!("chmod 600 '{place}'"));
        return Err(TransferError::Config(failure(ConfigReason::Exposed).next(next)));
    }
    let refused = |line: usize| {
        let next = Remedy::text("write one line for each: HOST:PORT TOKEN, or TOKEN alone");
        let told = failure(ConfigReason::Token).detail("line", line.to_string());
        TransferError::Config(told.next(next))
    };
    let text = std::str::from_utf8(&file.bytes).map_err(|_| refused(1))?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(at, line)| understand(line).ok_or_else(|| refused(at + 1))).collect()
}

fn understand(line: &str) -> Option<Row> {
    let mut words = line.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    let (host, token) = second.map_or((None, first), |token| (Some(first.to_owned()), token));
    let token = Token::parse(token).ok()?;
    words.next().is_none().then_some(Row { host, token })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use xfer_protocol::data_port::KeyDigest;

    use super::*;

    fn host(port: u16) -> PeerHost {
        PeerHost { host: "h".to_owned(), port }
    }

    #[test]
    fn the_token_of_a_peer_goes_before_that_of_any() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let token = |byte: u8| Token::new(KeyDigest([byte; 32]), [byte; 32]).reveal();
        let write = |text: &str, mode: u32| {
            #[expect(clippy::disallowed_methods, reason = "the test writes the file itself")]
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let found = |port| PeerTokens::new(path.clone()).find(&host(port));
        assert_eq!(found(1).unwrap_err().reason(), "peer-token-missing");
        write(&format!("# mine\n{}\nh:2 {}\n", token(1), token(2)), 0o600);
        assert_eq!(found(2).unwrap().peer(), KeyDigest([2; 32]));
        assert_eq!(found(3).unwrap().peer(), KeyDigest([1; 32]));
        write(&format!("h:2 {}\n", token(2)), 0o600);
        assert_eq!(found(3).unwrap_err().reason(), "peer-token-missing");
        write(&token(1), 0o640);
        assert_eq!(found(3).unwrap_err().reason(), "config-exposed");
        write(&format!("{}\nsecret-{}\n", token(1), token(2)), 0o600);
        let error = found(3).unwrap_err();
        assert_eq!(error.reason(), "peer-token-unusable");
        assert!(!format!("{error:?}").contains("secret"));
    }
}
