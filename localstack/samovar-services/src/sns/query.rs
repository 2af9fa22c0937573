//! The Query protocol of AWS: a form with numbered keys as the request, XML as the answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samovar_sqs::MessageAttribute;

/// The parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn read(body: &[u8]) -> Self {
        let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            (decoded(&pair[..at]), decoded(pair.get(at + 1..).unwrap_or_default()))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The members of a list, each as the prefix of its keys: `List.member.1.`
    pub(super) fn members(&self, list: &str) -> Vec<String> {
        let prefixes = (1..).map(|number| format!("{list}{number}."));
        prefixes.take_while(|prefix| self.0.keys().any(|key| key.starts_with(prefix.as_str()))).collect()
    }

    /// The message attributes below this prefix.
    ///
    /// # Errors
    /// The attribute that has no name, type or value.
    pub(super) fn attributes(&self, prefix: &str) -> Result<BTreeMap<String, MessageAttribute>, String> {
        let mut attributes = BTreeMap::new();
        for entry in self.members(&format!("{prefix}MessageAttributes.entry.")) {
            let get = |name: &str| self.get(&format!("{entry}{name}")).map(str::to_owned);
            let name = get("Name").filter(|name| !name.is_empty()).ok_or("A message attribute has no name")?;
            let kind = get("Value.DataType").ok_or_else(|| format!("The message attribute {name} has no type"))?;
            let binary = get("Value.BinaryValue").map(|value| STANDARD.decode(value)).transpose();
            let binary = binary.map_err(|_| format!("The message attribute {name} is not base64"))?;
            let text = get("Value.StringValue");
            let base = kind.split('.').next().unwrap_or_default();
            let valid = match base {
                "Binary" => binary.as_ref().is_some_and(|value| !value.is_empty()),
                "Number" => text.as_ref().is_some_and(|value| value.parse::<f64>().is_ok()),
                "String" => text.as_ref().is_some_and(|value| !value.is_empty()),
                _ => return Err(format!("The message attribute '{name}' has an invalid message attribute type")),
            };
            if !valid {
                return Err(format!("The message attribute '{name}' must contain a valid value for its type, {kind}"));
            }
            let (string_value, binary_value) = if base == "Binary" { (None, binary) } else { (text, None) };
            attributes.insert(name, MessageAttribute { data_type: kind, string_value, binary_value });
        }
        Ok(attributes)
    }
}

fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let hex = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        rest = match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                &after[2..]
            }
            (b'+', ..) => {
                bytes.push(b' ');
                after
            }
            (byte, ..) => {
                bytes.push(*byte);
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An element with text.
pub(super) fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escaped(text))
}

pub(super) fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, letter| {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter if letter.is_control() => drop(write!(escaped, "&#{};", u32::from(letter))),
            letter => escaped.push(letter),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded() {
        let query = Query::read(b"Action=Publish&Message=a+b%26%C3%A9%zz&Empty=&&Alone");
        assert_eq!(query.get("Message"), Some("a b&\u{e9}%zz"));
        assert_eq!((query.get("Empty"), query.get("Alone"), query.get("None")), (Some(""), Some(""), None));
    }

    #[test]
    fn attributes_have_names_types_and_values() {
        let entry = |number: u32, name: &str, kind: &str, value: &str| {
            let at = format!("MessageAttributes.entry.{number}");
            format!("{at}.Name={name}&{at}.Value.DataType={kind}&{at}.Value.{value}&")
        };
        let read = |body: String| Query::read(body.as_bytes()).attributes("");
        let both = entry(1, "a", "Number", "StringValue=1.5") + &entry(2, "b", "Binary.png", "BinaryValue=AAH/");
        let both = read(both).expect("attributes");
        assert_eq!(both["a"].string_value.as_deref(), Some("1.5"));
        assert_eq!(both["b"].binary_value.as_deref(), Some(&[0, 1, 255][..]));
        for (entry, message) in [
            (entry(1, "", "String", "StringValue=x"), "has no name"),
            (entry(1, "a", "Number", "StringValue=x"), "'a' must contain a valid value for its type, Number"),
            (entry(1, "a", "String", "StringValue="), "'a' must contain a valid value"),
            (entry(1, "a", "List", "StringValue=x"), "'a' has an invalid message attribute type"),
            (entry(1, "a", "Binary", "BinaryValue=?"), "a is not base64"),
            ("MessageAttributes.entry.1.Name=a".to_owned(), "a has no type"),
        ] {
            let error = read(entry).expect_err("wrong");
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(element("A", "<&\"\n>"), "<A>&lt;&amp;&quot;&#10;&gt;</A>");
    }
}
