//! Input for property tests. No well-meaning client sends it.

use proptest::prelude::*;

/// The number of cases is `PROPTEST_CASES`, or 256 without it. A failure prints its smallest case and leaves no file.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// Texts of these words and of arbitrary text, in any order.
pub(crate) fn words(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => proptest::sample::select(words).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.concat())
}
