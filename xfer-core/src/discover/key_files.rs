//! Files that hold the key of an account.

use std::path::Path;

use super::error::ApiProblem;
use crate::disk::settings_file;
use crate::transport::http::Bearer;

/// Bytes of a key file.
const KEY_BYTES_MAX: u64 = 4096;

/// The text of a file, where it is there and nobody else may read it.
pub(super) fn read(file: &Path) -> Result<Option<String>, ApiProblem> {
    let read = match settings_file::read(file, KEY_BYTES_MAX) {
        Ok(read) => read,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(ApiProblem::Unusable(error.to_string())),
    };
    if read.mode & 0o077 != 0 {
        let shown = file.display();
        let what =
            format!("{shown} may be read by others, and opens the account: chmod 600 {shown}");
        return Err(ApiProblem::Unusable(what));
    }
    String::from_utf8(read.bytes).map(Some).map_err(|_| no_key(file))
}

/// A file without a key that a header can carry.
pub(super) fn no_key(file: &Path) -> ApiProblem {
    ApiProblem::Unusable(format!("{} holds no key", file.display()))
}

/// The key that a variable of the environment holds, or a line of a file that names it: its name, a
/// `=`, and the key, perhaps in quotes.
pub(super) fn named(
    variable: (&str, Option<&String>),
    file: Option<&Path>,
    names: &[&str],
) -> Result<Vec<Bearer>, ApiProblem> {
    let (name, set) = variable;
    if let Some(key) = set {
        let unusable = || ApiProblem::Unusable(format!("{name} holds no key"));
        return Ok(vec![Bearer::new(key).ok_or_else(unusable)?]);
    }
    let missing = |what: String| ApiProblem::KeyMissing(format!("{name} is not set, {what}"));
    let Some(file) = file else { return Err(missing("and there is no home directory".to_owned())) };
    let Some(text) = read(file)? else {
        return Err(missing(format!("and {} is not there", file.display())));
    };
    let key = line_of(&text, names).and_then(Bearer::new).ok_or_else(|| no_key(file))?;
    Ok(vec![key])
}

/// The value of the first line that gives one of the names, in any case, a value.
fn line_of<'a>(text: &'a str, names: &[&str]) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        names.iter().any(|wanted| name.trim().eq_ignore_ascii_case(wanted)).then_some(())?;
        Some(unquoted(value.trim())).filter(|value| !value.is_empty())
    })
}

fn unquoted(text: &str) -> &str {
    let within = |quote| text.strip_prefix(quote).and_then(|rest| rest.split_once(quote));
    within('"').or_else(|| within('\'')).map_or(text, |(within, _)| within)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "files of the test itself")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_stands_behind_its_name() {
        for (text, key) in [
            ("api_key = secret_a\n", Some("secret_a")),
            ("# api_key\napi_key=b", Some("b")),
            ("API_KEY = \"c\" # mine", Some("c")),
            ("[default]\nother = 1\napi_key = 'd'\napi_key = e", Some("d")),
            ("api_key =\n", None),
            ("api_keys = x\n", None),
            ("secret", None),
            ("", None),
        ] {
            assert_eq!(line_of(text, &["api_key"]), key, "{text:?}");
        }
    }

    #[test]
    fn a_key_is_taken_from_the_environment_first_and_else_from_a_file_of_ones_own() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("keys");
        let typed = "typed".to_owned();
        let of = |set| named(("KEY", set), Some(&file), &["api_key"]);
        assert!(matches!(of(None), Err(ApiProblem::KeyMissing(_))));
        std::fs::write(&file, "api_key = filed").unwrap();
        for (mode, is_read) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(of(None).is_ok(), is_read, "{mode:o}");
        }
        assert_eq!(of(Some(&typed)).unwrap(), [Bearer::new("typed").unwrap()]);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(of(None).unwrap(), [Bearer::new("filed").unwrap()]);
        std::fs::write(&file, "api_key = two words").unwrap();
        assert!(matches!(of(None), Err(ApiProblem::Unusable(_))));
        assert!(matches!(of(Some(&" ".to_owned())), Err(ApiProblem::Unusable(_))));
    }
}
