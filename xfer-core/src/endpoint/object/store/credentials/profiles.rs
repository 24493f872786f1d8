//! The profiles of `~/.aws/config` and `~/.aws/credentials`, read as the AWS tools read them.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::problem::OpenError;
use crate::disk::settings_file;

/// Bytes of such a file.
const FILE_BYTES_MAX: u64 = 512 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionKind {
    Profile,
    Session,
    Services,
    Other,
}

/// A value, and where it stands.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) file: PathBuf,
    pub(super) line: u32,
    nested: Vec<(String, String)>,
}

impl Value {
    pub(super) fn broken(&self, why: &str) -> OpenError {
        OpenError::broken_at(self.file.display(), self.line, why)
    }
}

struct Section {
    kind: SectionKind,
    name: String,
    values: Vec<(String, Value)>,
}

/// Both files; the one with the credentials comes first.
pub(super) struct Profiles {
    sections: Vec<Section>,
    /// The files, in the order in which they were looked at, and whether they were there.
    pub(super) files: Vec<(PathBuf, bool)>,
}

impl Profiles {
    pub(super) fn read(environment: &Environment) -> Result<Self, OpenError> {
        let mut read = Self { sections: Vec::new(), files: Vec::new() };
        for (variable, usual, is_config) in [
            ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", false),
            ("AWS_CONFIG_FILE", ".aws/config", true),
        ] {
            let named = environment.get(variable).map(|text| environment.path(&text));
            let Some(file) = named.or_else(|| environment.at_home(usual)) else { continue };
            let text = text_of(&file, FILE_BYTES_MAX)?;
            read.files.push((file.clone(), text.is_some()));
            read.sections.extend(parse(&text.unwrap_or_default(), &file, is_config)?);
        }
        Ok(read)
    }

    pub(super) fn has(&self, kind: SectionKind, name: &str) -> bool {
        self.sections.iter().any(|section| section.kind == kind && section.name == name)
    }

    /// A value of a section; one that is empty is none.
    pub(super) fn get(&self, kind: SectionKind, name: &str, key: &str) -> Option<&Value> {
        let sections = self.sections.iter();
        let of_name = sections.filter(|section| section.kind == kind && section.name == name);
        let mut values = of_name.flat_map(|section| &section.values);
        let found = values.find(|(named, value)| named == key && !value.text.is_empty());
        found.map(|(_, value)| value)
    }

    /// A value of a profile.
    pub(super) fn of(&self, profile: &str, key: &str) -> Option<&Value> {
        self.get(SectionKind::Profile, profile, key)
    }

    /// The endpoint that a profile names for S3, or for all services.
    pub(super) fn endpoint(&self, profile: &str) -> Option<(String, String)> {
        let place = |value: &Value| format!("{}, line {}", value.file.display(), value.line);
        let services = self.of(profile, "services").and_then(|services| {
            let sections = self.sections.iter();
            let mut named = sections.filter(|section| {
                section.kind == SectionKind::Services && section.name == services.text
            });
            let (_, s3) =
                named.find_map(|section| section.values.iter().find(|(key, _)| key == "s3"))?;
            let (_, endpoint) = s3.nested.iter().find(|(key, _)| key == "endpoint_url")?;
            Some((place(s3), endpoint.clone()))
        });
        services.or_else(|| {
            let value = self.of(profile, "endpoint_url")?;
            Some((place(value), value.text.clone()))
        })
    }
}

/// What is named by whoever wants no file to be read.
const NO_FILE: &str = "/dev/null";

/// The text of a file; `None` where there is none.
pub(super) fn text_of(file: &Path, most: u64) -> Result<Option<String>, OpenError> {
    if file == Path::new(NO_FILE) {
        return Ok(None);
    }
    let read = match settings_file::read(file, most) {
        Ok(read) => read,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(OpenError::broken(file.display(), error.reason.to_string())),
    };
    let no_text = |_| OpenError::broken(file.display(), "it is no text");
    let text = String::from_utf8(read.bytes).map_err(no_text)?;
    if text.contains('\0') {
        return Err(OpenError::broken(file.display(), "it is no text"));
    }
    Ok(Some(text))
}

fn heading(inner: &str, is_config: bool) -> (SectionKind, String) {
    let unquoted = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    let inner = inner.trim();
    let (first, rest) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
    match (is_config, first, rest.is_empty()) {
        (true, "profile", false) => (SectionKind::Profile, unquoted(rest)),
        (true, "sso-session", false) => (SectionKind::Session, unquoted(rest)),
        (true, "services", false) => (SectionKind::Services, unquoted(rest)),
        (true, "default", true) | (false, ..) => (SectionKind::Profile, unquoted(inner)),
        _ => (SectionKind::Other, unquoted(inner)),
    }
}

/// A comment begins a line, or stands behind a space.
fn without_comment(value: &str) -> &str {
    let cut = |mark: &str| value.find(mark).unwrap_or(value.len());
    let end = [" #", " ;", "\t#", "\t;"].into_iter().map(cut).min().unwrap_or(value.len());
    value[..end].trim()
}

/// Nothing of a line is repeated in an error: it may be a key.
fn parse(text: &str, file: &Path, is_config: bool) -> Result<Vec<Section>, OpenError> {
    let mut sections: Vec<Section> = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (line, written) in (1_u32..).zip(text.lines()) {
        let broken = |why| OpenError::broken_at(file.display(), line, why);
        let content = written.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if !written.starts_with([' ', '\t']) && content.starts_with('[') {
            let inner = without_comment(content).strip_prefix('[');
            let inner = inner.and_then(|inner| inner.strip_suffix(']'));
            let inner = inner.ok_or_else(|| broken("a section that does not end with ]"))?;
            let (kind, name) = heading(inner, is_config);
            sections.push(Section { kind, name, values: Vec::new() });
            continue;
        }
        let section = sections.last_mut().ok_or_else(|| broken("a line before any [section]"))?;
        let pair = content.split_once('=');
        if written.starts_with([' ', '\t'])
            && let Some((_, above)) = section.values.last_mut()
        {
            if let Some((key, value)) = pair.filter(|_| above.text.is_empty()) {
                let (key, value) = (key.trim().to_ascii_lowercase(), without_comment(value));
                above.nested.push((key, value.to_owned()));
            }
            continue;
        }
        let (key, value) = pair.ok_or_else(|| broken("a line without ="))?;
        let text = without_comment(value).to_owned();
        let value = Value { text, file: file.to_owned(), line, nested: Vec::new() };
        section.values.push((key.trim().to_ascii_lowercase(), value));
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "# mine\n[default]\nregion = eu-west-1 # near\n\n\
        [profile \"two words\"]\nregion=us-west-2\nservices = local\ns3 =\n  max = 5\n\
        [services local]\ns3 =\n  endpoint_url = http://127.0.0.1:9000\n\
        [profile all]\nendpoint_url = https://all.example\n\
        [sso-session work]\nsso_region = us-east-1\n[plugins]\nx = y\n";

    fn read(config: &str, credentials: &str) -> Result<Profiles, OpenError> {
        let mut sections = parse(credentials, Path::new("/c"), false)?;
        sections.extend(parse(config, Path::new("/g"), true)?);
        Ok(Profiles { sections, files: Vec::new() })
    }

    #[test]
    fn profiles_are_read_as_the_tools_read_them() {
        let keys = "[default]\naws_access_key_id=A\naws_secret_access_key = b+/c=\n[all]\nregion=x";
        let read = read(CONFIG, keys).unwrap();
        for (profile, key, value) in [
            ("default", "region", Some("eu-west-1")),
            ("default", "aws_access_key_id", Some("A")),
            ("default", "aws_secret_access_key", Some("b+/c=")),
            ("two words", "region", Some("us-west-2")),
            ("two words", "s3", None),
            ("all", "region", Some("x")),
            ("plugins", "x", None),
            ("none", "region", None),
        ] {
            let found = read.of(profile, key).map(|value| value.text.as_str());
            assert_eq!(found, value, "{profile} {key}");
        }
        assert_eq!(read.endpoint("two words").unwrap().1, "http://127.0.0.1:9000");
        assert_eq!(read.endpoint("all").unwrap().1, "https://all.example");
        assert_eq!(read.endpoint("default"), None);
        let session = read.get(SectionKind::Session, "work", "sso_region").unwrap();
        assert_eq!(session.text, "us-east-1");
    }

    #[test]
    fn a_line_that_is_none_is_named_and_not_shown() {
        for (text, line) in [
            ("SECRET", 1),
            ("[default]\nSECRET\n", 2),
            ("[default]\n\n[SECRET\n", 3),
            ("a = SECRET\n", 1),
        ] {
            let error = read(text, "").err().unwrap();
            let OpenError::CredentialsBroken { line: at, .. } = &error else { panic!("{error}") };
            assert_eq!(*at, Some(line), "{text:?}");
            assert!(!format!("{error} {error:?}").contains("SECRET"), "{error}");
        }
    }
}
