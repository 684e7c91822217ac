//! What a text says: items in order, and the views that make the spellings of one thing alike.

use super::HclError;

/// A value, or the body of a block.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A string or heredoc.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// `{ … }`, with or without `=` in front of it.
    Block(Body),
}

impl Value {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Block(_) => "a block",
        }
    }
}

/// One `key = value`, `key { … }` or `key "label" { … }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The key; words and strings are alike.
    pub key: String,
    /// Labels between key and block; empty with `=`.
    pub labels: Vec<String>,
    /// The value or block.
    pub value: Value,
    /// Line of the key, from 1.
    pub line: usize,
    /// Column of the key, from 1.
    pub column: usize,
}

impl Item {
    /// An error that points at this item.
    pub fn error(&self, message: impl Into<String>) -> HclError {
        HclError { line: self.line, column: self.column, message: message.into() }
    }

    /// The blocks that this item stands for, each with `labels` labels: see [`Body::blocks`].
    ///
    /// # Errors
    /// As [`Body::blocks`].
    pub fn blocks(&self, labels: usize) -> Result<Vec<Block<'_>>, HclError> {
        let names: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        if names.len() > labels {
            return Err(self.error(format!("{} has {} labels, expected {labels}", self.key, names.len())));
        }
        let mut found = Vec::new();
        collect(self, &self.value, &names, labels, &mut found)?;
        Ok(found)
    }
}

/// Items in the order of the text; keys may repeat.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Body {
    /// The items.
    pub items: Vec<Item>,
}

/// A labelled block, however it was spelt.
#[derive(Debug, Clone, PartialEq)]
pub struct Block<'a> {
    /// As many labels as were asked for.
    pub labels: Vec<&'a str>,
    /// Its items.
    pub body: &'a Body,
    /// The item that it came from.
    pub item: &'a Item,
}

impl Body {
    /// The last item with this key.
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.items.iter().rev().find(|item| item.key == key)
    }

    /// All blocks with this key, each with `labels` labels. `path "x" { … }`, `path = { "x" = { … } }`,
    /// `{"path": {"x": { … }}}` and `{"path": [{"x": [{ … }]}]}` all give the label `x` and the same body.
    ///
    /// # Errors
    /// Where something else than a block, or another number of labels, is found.
    pub fn blocks(&self, key: &str, labels: usize) -> Result<Vec<Block<'_>>, HclError> {
        let mut found = Vec::new();
        for item in self.items.iter().filter(|item| item.key == key) {
            found.extend(item.blocks(labels)?);
        }
        Ok(found)
    }
}

/// Adds the blocks of `value`, whose first labels are `names`, to `found`.
fn collect<'a>(
    item: &'a Item,
    value: &'a Value,
    names: &[&'a str],
    labels: usize,
    found: &mut Vec<Block<'a>>,
) -> Result<(), HclError> {
    match value {
        Value::List(values) => values.iter().try_for_each(|value| collect(item, value, names, labels, found)),
        Value::Block(body) if names.len() == labels => {
            found.push(Block { labels: names.to_vec(), body, item });
            Ok(())
        }
        Value::Block(body) => body.items.iter().try_for_each(|inner| {
            let mut longer = names.to_vec();
            longer.push(&inner.key);
            longer.extend(inner.labels.iter().map(String::as_str));
            if longer.len() > labels {
                return Err(inner.error(format!("too many labels, expected {labels}")));
            }
            collect(inner, &inner.value, &longer, labels, found)
        }),
        other @ (Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_)) => {
            Err(item.error(format!("{} must be a block, not {}", item.key, other.kind())))
        }
    }
}
