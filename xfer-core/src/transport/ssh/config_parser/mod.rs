//! Our own reading of ssh_config, for machines without ssh
//!
//! It implements what decides who is reached, how, and as whom, with ssh's rule that the first
//! value wins. What it does not implement it refuses; only keywords that change neither are passed
//! over.

use std::path::Path;

use crate::disk::settings_file::{self, SettingsFileProblem};
use crate::transport::ssh::algorithms::without;
use crate::transport::ssh::environment::Environment;
use crate::transport::ssh::error::ConfigurationProblem;
use crate::transport::ssh::known_hosts::pattern_matches;
use crate::transport::ssh::options::SshOptions;
use crate::transport::ssh::settings::Settings;
use crate::transport::ssh::target::SshTarget;
use crate::transport::ssh::tuning::CONFIG_BYTES_MAX;

mod blocks;
mod keywords;
mod line;
#[cfg(test)]
mod tests;

pub use blocks::{HostBlock, host_blocks};
use keywords::{
    ALGORITHM_LISTS, ONLY_NO, ONLY_NONE, PASSED_OVER, SINGLE, canonical, check_value, is_single,
    normal,
};
use line::ConfigLine;

const SYSTEM_FILE: &str = "/etc/ssh/ssh_config";

/// Resolves a host from the same sources as ssh: options, the user's file, the system's file
pub(super) fn resolve(
    target: &SshTarget,
    options: &SshOptions,
    environment: &Environment,
) -> Result<Settings, ConfigurationProblem> {
    let mut reader = Reader::new(target.host());
    reader.read_options(target, options)?;
    match &options.config_file {
        Some(path) => reader.read_file(path, Presence::Required)?,
        None => {
            if let Some(home) = &environment.home {
                let path = home.join(".ssh/config");
                check_owner(&path, environment.user_id)?;
                reader.read_file(&path, Presence::Optional)?;
            }
            reader.read_file(Path::new(SYSTEM_FILE), Presence::Optional)?;
        }
    }
    reader.finish(environment)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

/// ssh reads the user's file only when nobody else can have written it
fn check_owner(path: &Path, user_id: u32) -> Result<(), ConfigurationProblem> {
    match settings_file::read(path, CONFIG_BYTES_MAX) {
        Ok(file) if (file.owner != 0 && file.owner != user_id) || file.mode & 0o022 != 0 => {
            Err(ConfigurationProblem::Permissions { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

struct Reader<'a> {
    host: &'a str,
    settings: Settings,
    /// Whether the lines of the present `Host` block count
    active: bool,
    ignored_unknown: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(host: &'a str) -> Self {
        Self { host, settings: Settings::default(), active: true, ignored_unknown: Vec::new() }
    }

    fn read_options(
        &mut self,
        target: &SshTarget,
        options: &SshOptions,
    ) -> Result<(), ConfigurationProblem> {
        if let Some(jump) = &options.jump {
            self.set("proxyjump", jump);
        }
        if let Some(port) = target.port().or(options.port) {
            self.set("port", port.to_string());
        }
        if let Some(user) = target.user() {
            self.set("user", user);
        }
        for identity in &options.identities {
            self.settings.push("identityfile", identity.display().to_string());
        }
        for option in &options.options {
            self.read_line(option, 0)?;
        }
        Ok(())
    }

    fn read_file(&mut self, path: &Path, presence: Presence) -> Result<(), ConfigurationProblem> {
        let file = match settings_file::read(path, CONFIG_BYTES_MAX) {
            Ok(file) => file,
            Err(error) => {
                let absent = matches!(error.reason, SettingsFileProblem::Missing);
                // `-F /dev/null` and `-F none` are how people ask for no configuration.
                let empty = [Path::new("/dev/null"), Path::new("none")].contains(&path);
                return if empty || (absent && presence == Presence::Optional) {
                    Ok(())
                } else {
                    Err(error.into())
                };
            }
        };
        let Ok(text) = String::from_utf8(file.bytes) else {
            return Err(ConfigurationProblem::Line { line: 0, problem: "it is not text in UTF-8" });
        };
        self.active = true;
        for (index, line) in text.lines().enumerate() {
            self.read_line(line, index + 1)?;
        }
        Ok(())
    }

    fn read_line(&mut self, text: &str, number: usize) -> Result<(), ConfigurationProblem> {
        let Some(line) = line::parse(text, number)? else { return Ok(()) };
        let problem = |problem| ConfigurationProblem::Line { line: number, problem };
        match line.keyword.as_str() {
            "host" if line.arguments.is_empty() => return Err(problem("Host names nothing")),
            "host" => {
                self.active = patterns_match(&line.arguments, self.host);
                return Ok(());
            }
            "match" if line.arguments == ["all"] => {
                self.active = true;
                return Ok(());
            }
            "include" | "match" => return Err(unsupported(&line.keyword, number)),
            "ignoreunknown" => {
                let patterns = line.arguments.iter().flat_map(|list| list.split(','));
                self.ignored_unknown.extend(patterns.map(str::to_ascii_lowercase));
                return Ok(());
            }
            _ => {}
        }
        if line.arguments.is_empty() && line.rest.is_empty() {
            return Err(problem("the value is missing"));
        }
        self.apply(&line, number)
    }

    fn apply(&mut self, line: &ConfigLine, number: usize) -> Result<(), ConfigurationProblem> {
        let keyword = canonical(&line.keyword);
        let value = line.arguments.first().map_or("", String::as_str);
        let wrong = || ConfigurationProblem::Value {
            keyword: keyword.to_owned(),
            value: line.rest.clone(),
        };
        match keyword {
            "proxycommand" => self.choose("proxycommand", &line.rest, "proxyjump"),
            "userknownhostsfile" | "globalknownhostsfile" => {
                self.choose_once(keyword, &line.arguments.join(" "));
            }
            _ if line.arguments.len() > 1 && is_single(keyword) => {
                return Err(ConfigurationProblem::Line {
                    line: number,
                    problem: "there is more than one value",
                });
            }
            "proxyjump" => self.choose("proxyjump", value, "proxycommand"),
            "user" => self.choose_once("user", value),
            "identityfile" => {
                if self.active && !self.settings.all(keyword).any(|known| known == value) {
                    self.settings.push(keyword, value);
                }
            }
            _ if SINGLE.contains(&keyword) => {
                let value = normal(keyword, value);
                check_value(keyword, &value).map_err(|()| wrong())?;
                if ALGORITHM_LISTS.contains(&keyword) {
                    self.choose_algorithms(keyword, &value);
                } else {
                    self.choose_once(keyword, &value);
                }
            }
            _ if ONLY_NO.contains(&keyword) => match (self.active, value) {
                (_, "no") | (false, _) => {}
                _ => return Err(unsupported(keyword, number)),
            },
            _ if ONLY_NONE.contains(&keyword) => {
                if self.active && !value.eq_ignore_ascii_case("none") {
                    return Err(unsupported(keyword, number));
                }
            }
            _ if PASSED_OVER.contains(&keyword) => {}
            _ if self.ignored_unknown.iter().any(|pattern| pattern_matches(pattern, keyword)) => {}
            _ => return Err(unsupported(keyword, number)),
        }
        Ok(())
    }

    fn set(&mut self, keyword: &str, value: impl Into<String>) {
        self.settings.push(keyword, value);
    }

    fn choose_once(&mut self, keyword: &str, value: &str) {
        if self.active && self.settings.first(keyword).is_none() {
            self.set(keyword, value);
        }
    }

    /// Of a jump host and a proxy command the first counts; a jump host `none` leaves the other its
    /// turn
    fn choose(&mut self, keyword: &str, value: &str, rival: &str) {
        let rival_counts = match rival {
            "proxyjump" => self.settings.named(rival).is_some(),
            _ => self.settings.first(rival).is_some(),
        };
        if !rival_counts {
            self.choose_once(keyword, value);
        }
    }

    /// `+` and `^` add to what is offered anyway; `-` takes away from it
    fn choose_algorithms(&mut self, keyword: &str, value: &str) {
        let chosen = match value.strip_prefix('-') {
            Some(patterns) => without(keyword, patterns).join(","),
            None if value.starts_with(['+', '^']) => String::new(),
            None => value.to_owned(),
        };
        self.choose_once(keyword, &chosen);
    }

    /// Adds what ssh assumes where nothing was said
    fn finish(mut self, environment: &Environment) -> Result<Settings, ConfigurationProblem> {
        let hostname = self.hostname()?;
        let mut settings = Settings::default();
        settings.push("hostname", hostname);
        for (keyword, default) in [
            ("user", environment.user.as_str()),
            ("port", "22"),
            ("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"),
            ("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"),
        ] {
            if self.settings.first(keyword).is_none() {
                self.set(keyword, default);
            }
        }
        if self.settings.first("identityfile").is_none() {
            for name in ["rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk"] {
                self.set("identityfile", format!("~/.ssh/id_{name}"));
            }
        }
        settings.append_except(self.settings, "hostname");
        Ok(settings)
    }

    /// `%h` in HostName is the name as it was typed
    fn hostname(&self) -> Result<String, ConfigurationProblem> {
        let Some(text) = self.settings.first("hostname") else {
            return Ok(self.host.to_ascii_lowercase());
        };
        let mut hostname = String::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            match (character, character == '%') {
                (_, false) => hostname.push(character),
                (_, true) => match rest.next() {
                    Some('%') => hostname.push('%'),
                    Some('h') => hostname.push_str(self.host),
                    _ => {
                        return Err(ConfigurationProblem::Value {
                            keyword: "hostname".to_owned(),
                            value: text.to_owned(),
                        });
                    }
                },
            }
        }
        Ok(hostname.to_ascii_lowercase())
    }
}

fn unsupported(keyword: &str, number: usize) -> ConfigurationProblem {
    ConfigurationProblem::Unsupported {
        keyword: keyword.to_owned(),
        line: Some(number).filter(|number| *number > 0),
    }
}

fn patterns_match(patterns: &[String], host: &str) -> bool {
    let mut matched = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if pattern_matches(pattern, host) => return false,
            Some(_) => {}
            None => matched |= pattern_matches(pattern, host),
        }
    }
    matched
}
