//! Bodies of webhooks as a plan's author writes them: JSON in whose texts `{NAME}` stands for a part of the message.
//!
//! The document is read before anything is put in, so whatever a message holds stays a value: it can neither end a text nor add
//! a field.

use serde_json::{Map, Value};

/// What a name in braces may be: the parts of the message as `shape = json` has them, and the webhook's own `token`.
pub const NAMES: [&str; 13] = [
    "at", "event", "host", "newest", "plan", "problems", "run", "started", "stores", "text", "title",
    "token", "warnings",
];

/// A body, read and found to be one.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    text: String,
    root: Node,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    /// A number, a truth, null.
    Plain(Value),
    /// A text that is one name and nothing else: the part itself, whatever it is.
    Part(&'static str),
    /// A text.
    Text(Vec<Piece>),
    List(Vec<Node>),
    Fields(Vec<(Vec<Piece>, Node)>),
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Literal(String),
    Part(&'static str),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is no JSON; where and why.
    NoJson(String),
    /// It is JSON, but neither an object nor a list.
    NoBody,
    /// This name means nothing.
    Unknown(String),
}

/// A part of a message, in its two forms.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Where it stands alone.
    pub value: Value,
    /// Within a text.
    pub text: String,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn parse(text: &str) -> Result<Template, Fault> {
        let value: Value = serde_json::from_str(text).map_err(|error| Fault::NoJson(error.to_string()))?;
        match value {
            Value::Object(_) | Value::Array(_) => Ok(Template { text: text.to_owned(), root: node(value)? }),
            _ => Err(Fault::NoBody),
        }
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether `{NAME}` is in it.
    pub fn names(&self, name: &str) -> bool {
        named(&self.root, name)
    }

    /// The body, with what `part` gives for each name.
    pub fn fill(&self, part: &dyn Fn(&str) -> Part) -> Value {
        filled(&self.root, part)
    }
}

fn node(value: Value) -> Result<Node, Fault> {
    Ok(match value {
        Value::String(text) => match pieces(&text)?.as_slice() {
            [Piece::Part(name)] => Node::Part(name),
            pieces => Node::Text(pieces.to_vec()),
        },
        Value::Array(items) => Node::List(items.into_iter().map(node).collect::<Result<_, _>>()?),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| Ok((pieces(&name)?, node(value)?)));
            Node::Fields(fields.collect::<Result<_, Fault>>()?)
        }
        plain => Node::Plain(plain),
    })
}

/// A text in pieces. `{{` and `}}` are braces; a brace that begins no name is one, too.
fn pieces(text: &str) -> Result<Vec<Piece>, Fault> {
    let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix(brace) {
            literal.push_str(brace);
            rest = behind;
            continue;
        }
        let word = rest.split('}').next().filter(|word| brace == "{" && word.len() < rest.len());
        match word.filter(|word| is_word(word)) {
            Some(word) => {
                let name = NAMES.iter().find(|name| *name == &word);
                let name = name.ok_or_else(|| Fault::Unknown(word.to_owned()))?;
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Part(name));
                rest = &rest[word.len() + 1..];
            }
            None => literal.push_str(brace),
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn named(node: &Node, name: &str) -> bool {
    let any = |pieces: &[Piece]| pieces.contains(&Piece::Part(known(name)));
    match node {
        Node::Plain(_) => false,
        Node::Part(own) => *own == name,
        Node::Text(pieces) => any(pieces),
        Node::List(items) => items.iter().any(|item| named(item, name)),
        Node::Fields(fields) => fields.iter().any(|(key, value)| any(key) || named(value, name)),
    }
}

/// The name as the table has it; one that it lacks is in no template.
fn known(name: &str) -> &'static str {
    NAMES.iter().find(|known| **known == name).copied().unwrap_or("")
}

fn filled(node: &Node, part: &dyn Fn(&str) -> Part) -> Value {
    match node {
        Node::Plain(value) => value.clone(),
        Node::Part(name) => part(name).value,
        Node::Text(pieces) => Value::String(joined(pieces, part)),
        Node::List(items) => items.iter().map(|item| filled(item, part)).collect(),
        Node::Fields(fields) => {
            let fields = fields.iter().map(|(name, value)| (joined(name, part), filled(value, part)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}

fn joined(pieces: &[Piece], part: &dyn Fn(&str) -> Part) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Literal(text) => text.clone(),
        Piece::Part(name) => part(name).text,
    };
    pieces.iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> Value {
        let part = |name: &str| match name {
            "stores" => Part { value: json!(["a", "b"]), text: "a, b".to_owned() },
            "title" => Part { value: json!("\"}, \"x\": {"), text: "\"}, \"x\": {host}".to_owned() },
            name => Part { value: json!(name.to_uppercase()), text: name.to_uppercase() },
        };
        Template::parse(template).unwrap().fill(&part)
    }

    #[test]
    fn a_name_alone_is_the_part_and_within_a_text_its_words() {
        assert_eq!(
            filled(
                r#"{"a": "{stores}", "b": "in {stores} of {host}", "c": [1, true, null, "{event}"], "{plan}": {}}"#
            ),
            json!({"a": ["a", "b"], "b": "in a, b of HOST", "c": [1, true, null, "EVENT"], "PLAN": {}})
        );
    }

    #[test]
    fn what_a_part_holds_is_a_value_and_no_template() {
        assert_eq!(
            filled(r#"{"a": "{title}", "b": "<{title}>"}"#),
            json!({"a": "\"}, \"x\": {", "b": "<\"}, \"x\": {host}>"})
        );
    }

    #[test]
    fn braces_that_are_no_name_stay() {
        let text = r#"["{{host}}", "{", "}", "{ host }", "{a b}", "{}", "{{{host}}}", "x}}y"]"#;
        assert_eq!(filled(text), json!(["{host}", "{", "}", "{ host }", "{a b}", "{}", "{HOST}", "x}y"]));
    }

    #[test]
    fn what_is_no_body_is_told() {
        assert!(matches!(Template::parse("{"), Err(Fault::NoJson(_))));
        assert_eq!(Template::parse("\"{host}\""), Err(Fault::NoBody));
        assert_eq!(Template::parse(r#"{"a": ["{hots}"]}"#), Err(Fault::Unknown("hots".to_owned())));
        assert!(Template::parse(r#"["{token}"]"#).unwrap().names("token"));
        assert!(!Template::parse(r#"["token"]"#).unwrap().names("token"));
    }
}
