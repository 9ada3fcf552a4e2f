//! A statement with named parameters, as a database takes it.

use std::sync::Arc;

use tidelock::{Error, Result};

use crate::change::Fields;
use crate::dialect::Dialect;
use crate::error::{Class, Fault, setting};
use crate::kind::DatabaseKind;
use crate::value::SqlValue;

/// What a statement may begin with. Others might end the transaction that they run in: MySQL commits before it defines anything, and a
/// procedure may commit.
const BEGINNINGS: [&str; 6] = ["insert", "update", "delete", "replace", "merge", "with"];

/// A statement whose parameters have places.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) sql: String,
    /// The parameters, each once.
    pub(super) names: Vec<Arc<str>>,
    /// Which of them each place binds.
    places: Vec<usize>,
}

impl Template {
    /// Reads `:name` wherever it is a parameter: not within quotes and comments, and `::` is a cast.
    pub(super) fn parse(dialect: &Dialect, setting_name: &'static str, text: &str) -> Result<Self> {
        Reading { dialect, setting_name, rest: text, template: Self::empty(), first_word: None }.read()
    }

    fn empty() -> Self {
        Self { sql: String::new(), names: Vec::new(), places: Vec::new() }
    }

    /// What a row binds.
    pub(super) fn values(&self, row: &Fields) -> Result<Vec<SqlValue>, Fault> {
        // The row may have been made for another statement, in a run before. It is not at fault, so no policy sets it aside.
        let fault = |why, name: &str| Fault::new(Class::Impossible, "", format!("{why}: {name}"));
        if let Some((name, _)) = row.0.iter().find(|(name, _)| !self.names.contains(name)) {
            return Err(fault("the row has a field that no parameter of the statement names", name));
        }
        let value = |at: &usize| {
            let name = &self.names[*at];
            row.get(name)
                .cloned()
                .ok_or_else(|| fault("the statement has a parameter that the row has not", name))
        };
        self.places.iter().map(value).collect()
    }
}

struct Reading<'t> {
    dialect: &'t Dialect,
    setting_name: &'static str,
    rest: &'t str,
    template: Template,
    first_word: Option<String>,
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// How long the word is that a text begins with: none begins with a digit.
fn word_length(text: &str) -> usize {
    match text.chars().next() {
        Some(first) if is_word(first) && !first.is_numeric() => {
            text.find(|letter| !is_word(letter)).unwrap_or(text.len())
        }
        _ => 0,
    }
}

impl Reading<'_> {
    fn read(mut self) -> Result<Template> {
        while let Some(letter) = self.rest.chars().next() {
            if let Some(length) = self.quoted_length()? {
                self.take(length);
                continue;
            }
            let word = word_length(self.rest);
            match letter {
                _ if word > 0 => {
                    self.first_word.get_or_insert_with(|| self.rest[..word].to_ascii_lowercase());
                    self.take(word);
                }
                ':' if self.rest.starts_with("::") => self.take(2),
                ':' => self.colon()?,
                ';' if self
                    .rest
                    .trim_matches(|letter: char| letter == ';' || letter.is_whitespace())
                    .is_empty() =>
                {
                    break;
                }
                ';' => return Err(self.wrong("one statement is wanted, and more follow")),
                '?' | '$' | '@' => self.foreign_parameter(letter)?,
                _ => self.take(letter.len_utf8()),
            }
        }
        if !self.first_word.as_deref().is_some_and(|word| BEGINNINGS.contains(&word)) {
            let why = format!("a statement begins with one of {}", BEGINNINGS.join(", "));
            return Err(self.wrong(why));
        }
        if self.template.names.is_empty() {
            return Err(
                self.wrong("the statement names no field of the record: a parameter is written as :name")
            );
        }
        Ok(self.template)
    }

    fn wrong(&self, why: impl Into<String>) -> Error {
        setting(self.setting_name, why)
    }

    fn kind(&self) -> DatabaseKind {
        self.dialect.kind
    }

    fn take(&mut self, length: usize) {
        let (taken, rest) = self.rest.split_at(length);
        self.template.sql.push_str(taken);
        self.rest = rest;
    }

    /// The letter before.
    fn before(&self) -> Option<char> {
        self.template.sql.chars().next_back()
    }

    fn colon(&mut self) -> Result<()> {
        let length = word_length(&self.rest[1..]);
        let stands_alone =
            !self.before().is_some_and(|letter| is_word(letter) || matches!(letter, ']' | ')'));
        match (length, stands_alone) {
            (0, _) => self.take(1),
            (_, true) => self.parameter(length),
            // A slice of an array: `a[1:n]`.
            (_, false) if self.kind() == DatabaseKind::Postgres => self.take(1 + length),
            _ => return Err(self.wrong("a parameter :name must not follow a word or a bracket at once")),
        }
        Ok(())
    }

    fn parameter(&mut self, length: usize) {
        let name = &self.rest[1..=length];
        let known = self.template.names.iter().position(|known| **known == *name);
        let at = known.unwrap_or(self.template.names.len());
        if known.is_none() {
            self.template.names.push(name.into());
        }
        // A numbered place may stand there several times.
        if known.is_none() || self.kind() != DatabaseKind::Postgres {
            self.template.places.push(at);
        }
        self.rest = &self.rest[1 + length..];
        self.dialect.place(&mut self.template.sql, at + 1);
    }

    /// What the database itself would take for a parameter.
    fn foreign_parameter(&mut self, letter: char) -> Result<()> {
        let next = self.rest[1..].chars().next().unwrap_or(' ');
        let is_one = match self.kind() {
            DatabaseKind::Postgres => letter == '$' && next.is_ascii_digit(),
            DatabaseKind::MySql => letter == '?',
            DatabaseKind::Sqlite => letter == '?' || is_word(next),
        };
        if is_one {
            return Err(self.wrong("a parameter is written as :name, with the name of a field"));
        }
        self.take(1);
        Ok(())
    }

    /// How long the quoted text or the comment is that begins here.
    fn quoted_length(&self) -> Result<Option<usize>> {
        use DatabaseKind::{MySql, Postgres, Sqlite};
        let (rest, kind) = (self.rest, self.kind());
        let mut letters = rest.chars();
        let (first, second) = (letters.next().unwrap_or(' '), letters.next());
        let length = match (first, kind) {
            ('\'', MySql) | ('"', MySql) => until_quote(rest, first, true),
            ('\'', Postgres) => until_quote(rest, first, self.is_escaped_string()),
            ('\'' | '"', _) | ('`', MySql | Sqlite) => until_quote(rest, first, false),
            ('[', Sqlite) => rest.find(']').map(|at| at + 1),
            ('-', MySql)
                if rest.starts_with("--") && rest[2..].chars().next().is_none_or(char::is_whitespace) =>
            {
                Some(line_length(rest))
            }
            ('-', Postgres | Sqlite) if second == Some('-') => Some(line_length(rest)),
            ('#', MySql) => Some(line_length(rest)),
            ('/', _) if second == Some('*') => comment_length(rest, kind == Postgres),
            ('$', Postgres) if !self.before().is_some_and(is_word) => {
                let tag = word_length(&rest[1..]);
                if !rest[1 + tag..].starts_with('$') {
                    return Ok(None);
                }
                let mark = &rest[..tag + 2];
                rest[mark.len()..].find(mark).map(|at| at + 2 * mark.len())
            }
            _ => return Ok(None),
        };
        length.map(Some).ok_or_else(|| self.wrong(format!("what begins with {first} is not closed")))
    }

    /// Whether a quote that comes is one of `E'..'`, where a backslash escapes.
    fn is_escaped_string(&self) -> bool {
        let mut before = self.template.sql.chars().rev();
        matches!(before.next(), Some('e' | 'E')) && !before.next().is_some_and(is_word)
    }
}

/// How long a text in quotes is. One that is doubled begins another text, which comes to the same.
fn until_quote(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            return Some(at + quote.len_utf8());
        }
        if letter == '\\' && escapes {
            letters.next();
        }
    }
    None
}

fn line_length(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

fn comment_length(text: &str, nests: bool) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else if text[at..].starts_with("/*") && (depth == 0 || nests) {
            depth += 1;
            at += 2;
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

#[cfg(test)]
mod tests;
