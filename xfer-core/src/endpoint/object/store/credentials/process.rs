//! Credentials that a program prints: `credential_process`.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::AwsCredential;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::asks::shown;
use super::problem::OpenError;
use super::refreshed::{Fresh, Source};
use super::{keys, moment};
use crate::transport::ssh::without_keys;

/// Time for the program.
const WITHIN: Duration = Duration::from_secs(30);

/// Bytes of what it prints.
const SAID_BYTES_MAX: u64 = 64 << 10;

/// A program and its arguments; what it is given is never shown, for it may hold a secret.
pub(super) struct Process {
    words: Vec<String>,
    place: String,
    within: Duration,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Words as a shell splits them, without any of its other powers; `None` where a quote stays open.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().push(rest.next()?),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

impl Process {
    pub(super) fn new(command: &str, place: String) -> Result<Self, OpenError> {
        let words = words(command).filter(|words| !words.is_empty());
        let why = "credential_process names no program";
        let words = words.ok_or_else(|| OpenError::broken(&place, why))?;
        Ok(Self { words, place, within: WITHIN })
    }

    #[cfg(test)]
    pub(super) fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    fn failed(&self, why: &str) -> OpenError {
        OpenError::refused(format!("{}: credential_process", self.place), why)
    }

    async fn run(&self) -> Result<Vec<u8>, OpenError> {
        let (program, arguments) = self.words.split_first().ok_or_else(|| self.failed("empty"))?;
        let spawned = without_keys(Command::new(program))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = spawned.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                OpenError::broken(&self.place, "credential_process: there is no such program here")
            }
            _ => self.failed(&error.to_string()),
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let both = async { tokio::join!(bounded(stdout), bounded(stderr)) };
        let finished = async { (both.await, child.wait().await) };
        let Ok(((said, complaints), status)) = tokio::time::timeout(self.within, finished).await
        else {
            let seconds = self.within.as_secs();
            return Err(self.failed(&format!("it did not end within {seconds} s; run it by hand")));
        };
        let status = status.map_err(|error| self.failed(&error.to_string()))?;
        if said.len() as u64 > SAID_BYTES_MAX {
            return Err(self.failed(&format!("it prints more than {SAID_BYTES_MAX} bytes")));
        }
        if status.success() {
            return Ok(said);
        }
        let text = String::from_utf8_lossy(&complaints);
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        let last = last.map(|last| format!(": {}", shown(last))).unwrap_or_default();
        Err(self.failed(&format!("{status}{last}")))
    }
}

/// The beginning of what is printed; the rest is read too, or the program would wait.
async fn bounded(source: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut source) = source {
        // What was read before an error is all that there is.
        drop((&mut source).take(SAID_BYTES_MAX + 1).read_to_end(&mut bytes).await);
        drop(tokio::io::copy(&mut source, &mut tokio::io::sink()).await);
    }
    bytes
}

#[async_trait]
impl Source<AwsCredential> for Process {
    async fn fetch(&self) -> Result<Fresh<AwsCredential>, OpenError> {
        let said = self.run().await?;
        let why = "it does not print the JSON that aws expects of it";
        let printed: Printed = serde_json::from_slice(&said).map_err(|_| self.failed(why))?;
        if printed.version != 1 {
            return Err(self.failed("it prints another version than 1"));
        }
        let until = printed.expiration.as_deref().map(|text| {
            moment::seconds(text).ok_or_else(|| self.failed("its Expiration is no time"))
        });
        let token = printed.session_token.as_deref();
        let place = format!("{}: credential_process", self.place);
        let credential = keys(&place, &printed.access_key_id, &printed.secret_access_key, token)?;
        Ok(Fresh { credential, until: until.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "files of the test itself")]

    use super::*;
    use crate::error::ExitClass;

    #[test]
    fn a_command_is_split_into_words() {
        for (text, wanted) in [
            ("a b  c", Some(vec!["a", "b", "c"])),
            ("'a b' \"c d\" e\\ f", Some(vec!["a b", "c d", "e f"])),
            ("a '' b", Some(vec!["a", "", "b"])),
            (r#"a "x\"y" 'p\q'"#, Some(vec!["a", "x\"y", r"p\q"])),
            ("a $(rm) ; b", Some(vec!["a", "$(rm)", ";", "b"])),
            ("a 'b", None),
            ("a \\", None),
            (" ", Some(vec![])),
        ] {
            let wanted = wanted.map(|words| words.into_iter().map(str::to_owned).collect());
            assert_eq!(words(text), wanted, "{text:?}");
        }
    }

    async fn printed(script: &str) -> Result<Fresh<AwsCredential>, OpenError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("prints");
        std::fs::write(&file, script).unwrap();
        let command = format!("sh '{}'", file.display());
        let process = Process::new(&command, "config".to_owned()).unwrap();
        process.within(Duration::from_secs(2)).fetch().await
    }

    #[tokio::test]
    async fn what_a_program_prints_is_taken() {
        let said = "echo '{\"Version\":1,\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\",\
            \"SessionToken\":\"T\",\"Expiration\":\"1970-01-01T00:01:00Z\"}'";
        let fresh = printed(said).await.unwrap();
        assert_eq!(fresh.until, Some(60));
        let wanted = ("AK", "SK", Some("T"));
        let got = &fresh.credential;
        assert_eq!((&*got.key_id, &*got.secret_key, got.token.as_deref()), wanted);
    }

    /// Rows: B-P6.
    #[tokio::test]
    async fn a_program_that_fails_hangs_or_floods_is_told() {
        for (script, class, told) in [
            ("exec tail -f /dev/null", ExitClass::Authentication, "did not end within 2 s"),
            ("echo no luck >&2; exit 3", ExitClass::Authentication, "no luck"),
            ("yes | head -c 1000000", ExitClass::Authentication, "more than"),
            ("exec yes >&2", ExitClass::Authentication, "did not end"),
            ("echo SECRET", ExitClass::Authentication, "JSON"),
            (
                "echo '{\"Version\":2,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"SECRET\"}'",
                ExitClass::Authentication,
                "version",
            ),
            (
                "echo '{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"SECRET X\"}'",
                ExitClass::Config,
                "secret",
            ),
        ] {
            let error = printed(script).await.unwrap_err();
            assert_eq!(error.class(), class, "{script}: {error}");
            assert!(error.to_string().contains(told), "{script}: {error}");
            assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
        }
        let missing = Process::new("/no/such/program", "config".to_owned()).unwrap();
        assert_eq!(missing.fetch().await.unwrap_err().class(), ExitClass::Config);
    }
}
