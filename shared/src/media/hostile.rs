//! Arbitrary uploads. None that begins like a page is recognised as media.

use proptest::prelude::*;

use super::kinds::{MediaType, TYPES};
use super::total;
use crate::testing::{config, words};

fn first_bytes() -> impl Strategy<Value = Vec<u8>> {
    let marks: [&[u8]; 12] = [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        b"RIFF\0\0\0\0WAVE",
        b"\0\0\0\x20ftypavif",
        b"\0\0\0\x20ftypisom",
        b"ID3",
        b"OggS",
        b"fLaC",
        b"\x1a\x45\xdf\xa3",
        b"\xff\xf1",
    ];
    let mark = proptest::sample::select(marks.map(<[u8]>::to_vec).to_vec());
    let part = prop_oneof![mark, proptest::collection::vec(any::<u8>(), 0..32)];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_are_recognised_as_one_kind_of_media_at_most(bytes in first_bytes()) {
        let kinds = TYPES.iter().filter(|known| known.agrees_with(&bytes)).map(|known| known.kind.as_str());
        let kinds: std::collections::BTreeSet<_> = kinds.collect();
        // A picture is neither audio nor video. A container may hold audio or video.
        prop_assert!(!kinds.contains("image") || kinds.len() == 1, "{:?}", kinds);
    }

    #[test]
    fn bytes_that_begin_like_a_page_are_not_media(
        space in "[ \t\r\n]{0,8}",
        page in words(&["<!doctype html>", "<html>", "<script>", "<svg xmlns=", "<?xml", "<", ">"]),
    ) {
        let page = format!("{space}<{page}");
        prop_assert!(TYPES.iter().all(|known| !known.agrees_with(page.as_bytes())), "{}", page);
    }

    #[test]
    fn exactly_the_known_types_are_accepted(
        text in words(&["image/png", "image/", "svg+xml", ";", " ", "text/html", "IMAGE/PNG", "\0"]),
    ) {
        let known = TYPES.iter().any(|known| text.eq_ignore_ascii_case(known.content_type));
        prop_assert_eq!(MediaType::parse(&text).is_ok(), known);
        let _ = total(&text);
    }
}
