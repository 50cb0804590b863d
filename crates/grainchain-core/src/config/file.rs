//! A TOML file with the line of every key, its values expanded.

use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::Lookup;
use super::expand::expand;
use crate::error::{Error, Result};

/// A value and the line that it stands in.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) value: Node,
    pub(super) line: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Table(Vec<(String, Located)>),
    Leaf(Value),
}

impl Located {
    /// The entries, when it is a table.
    pub(super) fn table(self) -> std::result::Result<Vec<(String, Self)>, Value> {
        match self.value {
            Node::Table(entries) => Ok(entries),
            Node::Leaf(value) => Err(value),
        }
    }

    /// The value without lines.
    pub(super) fn plain(self) -> Value {
        match self.value {
            Node::Table(entries) => {
                Value::Object(entries.into_iter().map(|(key, located)| (key, located.plain())).collect())
            }
            Node::Leaf(value) => value,
        }
    }
}

/// Names the place of a configuration fault.
pub(super) fn at(origin: &Path, line: usize, key: &str, reason: impl std::fmt::Display) -> Error {
    Error::config(format!("{}:{line}: {key}: {reason}", origin.display()))
}

/// The line, from 1, that the byte at `position` stands in.
pub(super) fn line_at(text: &[u8], position: usize) -> usize {
    text[..position.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Reads TOML text that came from `origin`.
pub(super) fn parse(text: &str, origin: &Path, lookup: Lookup<'_>) -> Result<Vec<(String, Located)>> {
    let reader = Reader { text, origin, lookup };
    let table = DeTable::parse(text).map_err(|error| {
        let line = reader.line(error.span());
        Error::config(format!("{}:{line}: {}", origin.display(), error.message()))
    })?;
    reader.table(table.get_ref(), "")
}

struct Reader<'a> {
    text: &'a str,
    origin: &'a Path,
    lookup: Lookup<'a>,
}

impl Reader<'_> {
    fn line(&self, span: Option<Range<usize>>) -> usize {
        line_at(self.text.as_bytes(), span.map_or(0, |span| span.start))
    }

    fn table(&self, table: &DeTable<'_>, path: &str) -> Result<Vec<(String, Located)>> {
        let entries = table.iter().map(|(key, value)| {
            let name = key.get_ref().to_string();
            let line = self.line(Some(key.span()));
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let value = match value.get_ref() {
                DeValue::Table(inner) => Node::Table(self.table(inner, &path)?),
                other => Node::Leaf(self.leaf(other, line, &path)?),
            };
            Ok((name, Located { value, line }))
        });
        entries.collect()
    }

    fn leaf(&self, value: &DeValue<'_>, line: usize, path: &str) -> Result<Value> {
        let wrong = |reason: &str| at(self.origin, line, path, reason);
        Ok(match value {
            DeValue::String(text) => Value::String(
                expand(text, self.lookup).map_err(|reason| at(self.origin, line, path, reason))?,
            ),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                parsed.map_err(|_| wrong("the number is too large"))?.into()
            }
            DeValue::Float(number) => {
                let parsed: f64 = number.as_str().parse().map_err(|_| wrong("this is not a number"))?;
                serde_json::Number::from_f64(parsed)
                    .map(Value::Number)
                    .ok_or_else(|| wrong("the number is not finite"))?
            }
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Datetime(time) => Value::String(time.to_string()),
            DeValue::Array(items) => {
                let items = items.iter().map(|item| self.leaf(item.get_ref(), line, path));
                Value::Array(items.collect::<Result<_>>()?)
            }
            DeValue::Table(inner) => {
                let entries =
                    self.table(inner, path)?.into_iter().map(|(key, located)| (key, located.plain()));
                Value::Object(entries.collect())
            }
        })
    }
}
