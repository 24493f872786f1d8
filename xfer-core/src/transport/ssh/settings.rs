//! Keywords and values of a resolved configuration, in the form that `ssh -G` prints

use super::error::ConfigurationProblem;

/// Lower-case keywords with their values, in order
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    entries: Vec<(String, String)>,
}

impl Settings {
    /// Reads the output of `ssh -G`
    pub(super) fn parse(text: &str) -> Self {
        let entries = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(keyword, value)| (keyword.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { entries }
    }

    pub(super) fn push(&mut self, keyword: &str, value: impl Into<String>) {
        self.entries.push((keyword.to_owned(), value.into()));
    }

    /// Takes over all entries but those of one keyword
    pub(super) fn append_except(&mut self, other: Self, keyword: &str) {
        self.entries.extend(other.entries.into_iter().filter(|(name, _)| name != keyword));
    }

    pub(super) fn first(&self, keyword: &str) -> Option<&str> {
        self.all(keyword).next()
    }

    /// The first value, unless it is `none`
    pub(super) fn named(&self, keyword: &str) -> Option<&str> {
        self.first(keyword).filter(|value| !value.eq_ignore_ascii_case("none"))
    }

    pub(super) fn all<'a, 'k>(
        &'a self,
        keyword: &'k str,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'k> {
        self.entries.iter().filter(move |(name, _)| name == keyword).map(|(_, value)| &**value)
    }

    pub(super) fn is_yes(&self, keyword: &str) -> bool {
        self.first(keyword).is_some_and(|value| matches!(value, "yes" | "true"))
    }

    pub(super) fn number(&self, keyword: &str) -> Result<Option<u64>, ConfigurationProblem> {
        let Some(value) = self.named(keyword) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| ConfigurationProblem::Value {
            keyword: keyword.to_owned(),
            value: value.to_owned(),
        })
    }

    /// A comma-separated list, empty when the keyword is absent
    pub(super) fn list(&self, keyword: &str) -> Vec<String> {
        let value = self.first(keyword).unwrap_or_default();
        value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// A blank-separated list of absolute paths
    ///
    /// `ssh -G` prints several files without quotes. A word that begins like a path begins a new
    /// file, any other word belongs to the name before it.
    pub(super) fn paths(&self, keyword: &str) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        for word in self.named(keyword).unwrap_or_default().split(' ') {
            match paths.last_mut() {
                Some(last) if !word.starts_with(['/', '~', '%', '$']) => {
                    last.push(' ');
                    last.push_str(word);
                }
                _ => paths.push(word.to_owned()),
            }
        }
        paths.retain(|path| !path.is_empty());
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_wins_and_lists_keep_their_order() {
        let settings = Settings::parse(
            "User a b\nport 22\nport 23\nidentityfile /a b\nidentityfile ~/c\nciphers x,y\n\
             userknownhostsfile /tmp/with space/kh /root/kh2 ~/kh3\nproxyjump none\n",
        );
        assert_eq!(settings.first("user"), Some("a b"));
        assert_eq!(settings.first("port"), Some("22"));
        assert_eq!(settings.all("identityfile").collect::<Vec<_>>(), ["/a b", "~/c"]);
        assert_eq!(settings.list("ciphers"), ["x", "y"]);
        assert_eq!(
            settings.paths("userknownhostsfile"),
            ["/tmp/with space/kh", "/root/kh2", "~/kh3"]
        );
        assert_eq!(settings.named("proxyjump"), None);
    }
}
