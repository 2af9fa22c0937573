//! Percent-decoding of paths and queries.

/// Decodes `%XX`. Invalid escapes stay as they are.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        // Two digits: `from_str_radix` would take a sign, too.
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let hex = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The pairs of a query, in order, decoded.
pub(crate) fn query(query: Option<&str>) -> Vec<(String, String)> {
    let part = |text: &str| decode(&text.replace('+', " "));
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (part(name), part(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_nonsense_is_kept() {
        assert_eq!(decode("%40connections"), "@connections");
        assert_eq!(decode("BFHPhfCWIAMCKlQ%3D"), "BFHPhfCWIAMCKlQ=");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%é"), "%zz%é");
    }

    #[test]
    fn a_query_is_pairs_in_order() {
        let pairs = query(Some("a=1&b=x%20y&a=2+3&flag&&="));
        let expected = [("a", "1"), ("b", "x y"), ("a", "2 3"), ("flag", ""), ("", "")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(query(None).is_empty());
    }
}
