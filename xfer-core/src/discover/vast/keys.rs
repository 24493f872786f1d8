//! The keys of the account, found where Vast's own tool finds them.

use std::fmt;
use std::path::PathBuf;

use super::itself::InstancePlaces;
use crate::discover::MachineRow;
use crate::discover::error::ApiProblem;
use crate::discover::key_files;
use crate::transport::http::{Base, Bearer};

/// Where the interface is, unless the environment says otherwise.
const BASE: &str = "https://console.vast.ai";

/// What decides whom to ask, and with which key.
#[derive(Clone, Default)]
pub struct VastSettings {
    /// `VAST_URL`. Default: `https://console.vast.ai`.
    pub base: Option<String>,
    /// `VAST_API_KEY`, which comes before any file.
    pub key: Option<String>,
    /// Directory of the platform's own tool. Default: none.
    pub directory: Option<PathBuf>,
    /// The home directory, for the file of older versions. Default: none.
    pub home: Option<PathBuf>,
    /// What tells an instance which one it is. Default: nothing.
    pub instance: InstancePlaces,
    /// Asks as fast as it is answered, where an interface limits nobody. Default: no.
    pub unhurried: bool,
}

impl fmt::Debug for VastSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VastSettings").field("base", &self.base).finish_non_exhaustive()
    }
}

impl VastSettings {
    /// What the environment says, read through `variable`.
    #[must_use]
    pub fn of_environment(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let set = |name| text(name).filter(|value| !value.trim().is_empty());
        let home = variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let configured = variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let configured = configured.filter(|directory| directory.is_absolute());
        let directory = configured.or_else(|| home.as_ref().map(|home| home.join(".config")));
        Self {
            base: set("VAST_URL"),
            key: set("VAST_API_KEY"),
            directory: directory.map(|directory| directory.join("vastai")),
            home,
            instance: InstancePlaces::of_environment(&variable),
            unhurried: false,
        }
    }

    /// The instance that this process runs in, as far as it knows itself.
    #[must_use]
    pub fn itself(&self) -> Option<MachineRow> {
        self.instance.row()
    }

    pub(super) fn base(&self) -> Result<Base, ApiProblem> {
        let text = self.base.as_deref().unwrap_or(BASE);
        Base::parse(text).ok_or_else(|| {
            ApiProblem::Unusable("VAST_URL must be https://HOST, without user or query".to_owned())
        })
    }

    /// Every key, in the order in which they are tried: a session's comes before the account's and
    /// expires sooner. Where there is none an instance's own will do, which opens that one alone.
    pub(super) fn keys(&self) -> Result<Vec<Bearer>, ApiProblem> {
        if let Some(key) = &self.key {
            let key = Bearer::new(key);
            let unusable = || ApiProblem::Unusable("VAST_API_KEY holds no key".to_owned());
            return Ok(vec![key.ok_or_else(unusable)?]);
        }
        let files = self.files();
        let mut keys = Vec::new();
        for file in &files {
            if let Some(text) = key_files::read(file)? {
                keys.push(Bearer::new(&text).ok_or_else(|| key_files::no_key(file))?);
            }
        }
        if keys.is_empty() {
            keys.extend(self.instance.key());
        }
        if keys.is_empty() {
            let looked: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            let looked = looked.join(", ");
            return Err(ApiProblem::KeyMissing(format!(
                "VAST_API_KEY is not set, none of {looked} is there"
            )));
        }
        Ok(keys)
    }

    fn files(&self) -> Vec<PathBuf> {
        let own = self
            .directory
            .iter()
            .flat_map(|directory| [directory.join("vast_tfa_key"), directory.join("vast_api_key")]);
        own.chain(self.home.iter().map(|home| home.join(".vast_api_key"))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "files of the test itself")]

    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn write(path: &Path, bytes: &[u8], mode: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Rows: B-P5.
    #[test]
    fn a_key_file_holds_a_key_that_nobody_else_reads() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".vast_api_key");
        let settings = VastSettings { home: Some(home.path().to_owned()), ..Default::default() };
        let refused = || matches!(settings.keys(), Err(ApiProblem::Unusable(_)));
        for (bytes, mode) in [
            (&b""[..], 0o600),
            (b" \n", 0o600),
            (b"\xff\xfe\0", 0o600),
            (b"two\nlines", 0o600),
            (&[b'k'; 1 << 20], 0o600),
            (b"key", 0o644),
            (b"key", 0o640),
            (b"key", 0o602),
        ] {
            write(&file, bytes, mode);
            assert!(refused(), "{mode:o} {}", bytes.len());
        }
        write(&file, b" key\n", 0o400);
        assert_eq!(settings.keys().unwrap(), [Bearer::new("key").unwrap()]);
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(refused());
    }

    #[test]
    fn keys_are_looked_for_in_the_order_of_the_platforms_own_tool() {
        let home = tempfile::tempdir().unwrap();
        let settings = || {
            let variable =
                |name: &str| (name == "HOME").then(|| home.path().as_os_str().to_owned());
            VastSettings::of_environment(variable)
        };
        let write = |name: &str, text: &str| write(&home.path().join(name), text.as_bytes(), 0o600);
        assert!(matches!(settings().keys(), Err(ApiProblem::KeyMissing(_))));
        let keys = |settings: VastSettings| settings.keys().unwrap();
        write(".vast_api_key", "old\n");
        assert_eq!(keys(settings()), [Bearer::new("old").unwrap()]);
        write(".config/vastai/vast_api_key", " new ");
        write(".config/vastai/vast_tfa_key", "session");
        let expected = ["session", "new", "old"].map(|key| Bearer::new(key).unwrap());
        assert_eq!(keys(settings()), expected);
        let typed = VastSettings { key: Some("typed".to_owned()), ..settings() };
        assert_eq!(keys(typed), [Bearer::new("typed").unwrap()]);
    }

    #[test]
    fn the_key_goes_to_no_other_address_than_one_that_hides_it() {
        let at = |base: &str| VastSettings { base: Some(base.to_owned()), ..Default::default() };
        assert!(VastSettings::default().base().is_ok());
        assert!(at("https://console.example").base().is_ok());
        for base in ["http://console.example", "console.example", "https://u:p@console.example"] {
            assert!(matches!(at(base).base(), Err(ApiProblem::Unusable(_))), "{base}");
        }
    }
}
