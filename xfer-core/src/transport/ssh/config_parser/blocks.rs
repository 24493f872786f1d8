//! Whom a file is about: its `Host` blocks, as far as they name hosts

use std::path::Path;

use super::{ConfigurationProblem, line};
use crate::disk::settings_file;
use crate::transport::ssh::environment::Environment;
use crate::transport::ssh::tuning::CONFIG_BYTES_MAX;

/// One `Host` block
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostBlock {
    /// The names and patterns that it is for
    pub names: Vec<String>,
    /// What it sets in the environment of the far side, as `NAME=VALUE`
    pub variables: Vec<String>,
}

/// The blocks of a file, in order; `None` where it is not there
///
/// What it includes is not read. A file that somebody else can have written is refused, as ssh
/// refuses it where a user's own configuration includes it.
pub fn host_blocks(path: &Path) -> Result<Option<Vec<HostBlock>>, ConfigurationProblem> {
    let file = match settings_file::read(path, CONFIG_BYTES_MAX) {
        Ok(file) => file,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let user = Environment::current().user_id;
    if (file.owner != 0 && file.owner != user) || file.mode & 0o022 != 0 {
        return Err(ConfigurationProblem::Permissions { path: path.to_owned() });
    }
    let text = String::from_utf8(file.bytes)
        .map_err(|_| ConfigurationProblem::Line { line: 0, problem: "it is not text in UTF-8" })?;
    blocks(&text).map(Some)
}

fn blocks(text: &str) -> Result<Vec<HostBlock>, ConfigurationProblem> {
    let mut blocks: Vec<HostBlock> = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let Some(line) = line::parse(text, index + 1)? else { continue };
        match line.keyword.as_str() {
            "host" => blocks.push(HostBlock { names: line.arguments, variables: Vec::new() }),
            // What follows is for nobody by name.
            "match" => blocks.push(HostBlock::default()),
            "setenv" => {
                if let Some(block) = blocks.last_mut() {
                    block.variables.extend(line.arguments);
                }
            }
            _ => {}
        }
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "files of the test itself")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn blocks_are_known_by_their_names() {
        let text = "SetEnv A=1\nHost a b-worker1\n  HostName 1.2.3.4\n  \
                    UserKnownHostsFile=/dev/null\n  setenv B=2 C=3\n# Host x\n\
                    Match all\n  SetEnv D=4\nhost=c\n";
        let block = |names: &[&str], variables: &[&str]| HostBlock {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            variables: variables.iter().map(|name| (*name).to_owned()).collect(),
        };
        let expected =
            [block(&["a", "b-worker1"], &["B=2", "C=3"]), block(&[], &["D=4"]), block(&["c"], &[])];
        assert_eq!(blocks(text).unwrap(), expected);
        assert!(blocks("Host \"a\n").is_err());
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cluster");
        assert_eq!(host_blocks(&path).unwrap(), None);
        std::fs::write(&path, "Host a\n").unwrap();
        for (mode, is_read) in [(0o600, true), (0o644, true), (0o664, false), (0o666, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(host_blocks(&path).is_ok(), is_read, "{mode:o}");
        }
    }
}
