//! One line of ssh_config: a keyword and its arguments

use crate::transport::ssh::error::ConfigurationProblem;

/// A keyword in lower case, its arguments, and the text behind it as it stands
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigLine {
    pub(super) keyword: String,
    pub(super) arguments: Vec<String>,
    pub(super) rest: String,
}

/// Splits a line; `None` when it is blank or a comment
///
/// A keyword is followed by blanks, or by blanks around one `=`. Arguments may be quoted with
/// either quote; a backslash takes a quote, a backslash, or outside quotes a blank, as itself. A
/// `#` that begins an argument begins a comment.
pub(super) fn parse(text: &str, number: usize) -> Result<Option<ConfigLine>, ConfigurationProblem> {
    let problem = |problem| ConfigurationProblem::Line { line: number, problem };
    if text.contains('\0') {
        return Err(problem("it holds a NUL"));
    }
    let text = text.trim_matches([' ', '\t', '\r', '\u{c}']);
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let (keyword, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or_else(|| problem("a quote is not closed"))?,
        None => text.split_at(text.find([' ', '\t', '=']).unwrap_or(text.len())),
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start_matches([' ', '\t']);
    // The rest of these lines is one command, which a shell will split.
    let keyword = keyword.to_ascii_lowercase();
    let is_command = matches!(keyword.as_str(), "proxycommand" | "localcommand" | "remotecommand");
    let arguments = if is_command { Vec::new() } else { split(rest).map_err(problem)? };
    Ok(Some(ConfigLine { keyword, arguments, rest: rest.to_owned() }))
}

fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut arguments = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|character| matches!(character, ' ' | '\t')).is_some() {}
        match rest.peek() {
            None | Some('#') => return Ok(arguments),
            Some(_) => arguments.push(argument(&mut rest)?),
        }
    }
}

fn argument(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, &'static str> {
    let mut argument = String::new();
    let mut quote = None;
    while let Some(character) = rest.next() {
        match (character, quote) {
            ('\\', _) => {
                let escaped = |next: &char| {
                    matches!(next, '"' | '\'' | '\\') || (quote.is_none() && *next == ' ')
                };
                argument.push(rest.next_if(escaped).unwrap_or('\\'));
            }
            (' ' | '\t', None) => return Ok(argument),
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            _ => argument.push(character),
        }
    }
    if quote.is_some() { Err("a quote is not closed") } else { Ok(argument) }
}
