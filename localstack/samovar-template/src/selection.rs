//! Selection expressions of WebSocket APIs: text with variables, of which API Gateway makes a key. The key selects a
//! route, a template or a model ([WebSocket selection expressions]).
//!
//! [WebSocket selection expressions]:
//!     https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-selection-expressions.html

use std::fmt;

/// A selection expression, such as `$request.body.action` or `${request.body.version}-beta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    written: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The name of a variable, without the dollar sign.
    Variable(String),
}

impl Selection {
    /// Reads an expression.
    ///
    /// # Errors
    /// The end of a sentence that begins with the name of the property: a brace is not closed, or a name is missing.
    pub fn parse(written: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = written;
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            let name = match character {
                '\\' if rest.starts_with('$') => {
                    text.push('$');
                    rest = &rest[1..];
                    continue;
                }
                '$' if rest.starts_with('{') => {
                    let end = rest.find('}').ok_or_else(|| format!("is \"{written}\", where a brace is not closed"))?;
                    let name = &rest[1..end];
                    rest = &rest[end + 1..];
                    name
                }
                '$' => {
                    let end = rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
                    let name = rest[..end].trim_end_matches('.');
                    rest = &rest[name.len()..];
                    name
                }
                other => {
                    text.push(other);
                    continue;
                }
            };
            match name {
                "" => return Err(format!("is \"{written}\", where a dollar sign has no name (write \\$ for itself)")),
                // A key, and not a variable.
                "default" => text.push_str("$default"),
                name => {
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Variable(name.to_owned()));
                }
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { written: written.to_owned(), parts })
    }

    /// The expression whose key is always empty.
    pub(crate) fn nothing() -> Self {
        Self { written: String::new(), parts: Vec::new() }
    }

    /// The key. A variable without a value is empty.
    pub fn evaluate(&self, value: impl Fn(&str) -> Option<String>) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => value(name).unwrap_or_default(),
        });
        parts.collect()
    }

    /// The names of the variables, without the dollar sign, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable(name) => Some(name.as_str()),
        })
    }
}

impl fmt::Display for Selection {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || "_.-[]'*".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(written: &str) -> String {
        let selection = Selection::parse(written).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(selection.to_string(), written);
        selection.evaluate(|name| (name != "request.body.none").then(|| format!("<{name}>")))
    }

    #[test]
    fn variables_are_replaced_once_and_text_stays() {
        for (written, expected) in [
            ("$request.body.action", "<request.body.action>"),
            ("${request.body.action}", "<request.body.action>"),
            ("${request.body.version}-beta", "<request.body.version>-beta"),
            ("$request.body.a[0].b/$context.stage", "<request.body.a[0].b>/<context.stage>"),
            ("$request.body.none", ""),
            ("$request.body.a.", "<request.body.a>."),
            ("\\$default", "$default"),
            ("$default", "$default"),
            ("200", "200"),
            ("/2\\d\\d/", "/2\\d\\d/"),
            ("é$request.body.é", "é<request.body.é>"),
        ] {
            assert_eq!(key(written), expected, "{written}");
        }
        let selection = Selection::parse("$a.b-${c}").expect("valid");
        assert_eq!(selection.variables().collect::<Vec<_>>(), ["a.b-", "c"]);
    }

    #[test]
    fn an_expression_without_a_name_or_a_closing_brace_is_refused() {
        for (written, why) in [("${a", "not closed"), ("$", "no name"), ("${}", "no name"), ("a$ b", "no name")] {
            assert!(Selection::parse(written).is_err_and(|error| error.contains(why)), "{written}");
        }
    }
}
