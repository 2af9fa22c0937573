//! `BinaryMediaTypes`: which bodies are bytes. Functions get and give those in base64.

/// Whether the header (`Content-Type`, or `Accept`, of which the first type counts) names one of the types.
pub(super) fn is_binary(types: &[String], header: &str) -> bool {
    let named = header.split([',', ';']).next().unwrap_or_default().trim().to_ascii_lowercase();
    types.iter().any(|known| match known.to_ascii_lowercase().split_once("/*") {
        Some(("*", "")) => true,
        Some((family, "")) => named.split_once('/').is_some_and(|(own, _)| own == family),
        _ => known.eq_ignore_ascii_case(&named),
    })
}

#[cfg(test)]
mod tests {
    use super::is_binary;

    #[test]
    fn a_type_is_named_whole_or_by_its_family() {
        let types = |types: &[&str]| types.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        assert!(is_binary(&types(&["image/png"]), "image/PNG; q=0.8, text/html"));
        assert!(is_binary(&types(&["image/*"]), "image/gif") && is_binary(&types(&["*/*"]), ""));
        assert!(
            !is_binary(&types(&["image/*"]), "text/image")
                && !is_binary(&types(&["image/png"]), "text/html, image/png")
        );
        assert!(!is_binary(&[], "image/png"));
    }
}
