//! The accepted types of media: those that a browser can show. The first bytes of an object show whether it has the
//! type that it claims.

use crate::{Error, Result};

/// How many bytes are checked: enough for every format's mark, even behind a container's first boxes.
pub(crate) const HEAD_BYTES: u64 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Image,
    Audio,
    Video,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    /// The kind of this content type, if it is one of the types below.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        TYPES.iter().find(|known| known.content_type == content_type).map(|known| known.kind)
    }
}

/// An accepted type of media.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MediaType {
    pub(crate) content_type: &'static str,
    pub(crate) kind: Kind,
    pub(crate) extension: &'static str,
    /// The types that its bytes are recognised as. Containers hold sound and pictures alike.
    recognised_as: &'static [&'static str],
}

const MP4: [&str; 3] = ["video/mp4", "video/x-m4v", "audio/m4a"];
const MATROSKA: [&str; 2] = ["video/webm", "video/x-matroska"];
const OGG: [&str; 4] = ["audio/ogg", "video/ogg", "application/ogg", "audio/opus"];

// SVG is not among them: it can carry scripts.
pub(crate) const TYPES: [MediaType; 16] = [
    MediaType::new("image/png", Kind::Image, "png", &["image/png"]),
    MediaType::new("image/jpeg", Kind::Image, "jpg", &["image/jpeg"]),
    MediaType::new("image/gif", Kind::Image, "gif", &["image/gif"]),
    MediaType::new("image/webp", Kind::Image, "webp", &["image/webp"]),
    MediaType::new("image/avif", Kind::Image, "avif", &["image/avif"]),
    MediaType::new("audio/mpeg", Kind::Audio, "mp3", &["audio/mpeg"]),
    MediaType::new("audio/wav", Kind::Audio, "wav", &["audio/x-wav"]),
    MediaType::new("audio/x-wav", Kind::Audio, "wav", &["audio/x-wav"]),
    MediaType::new("audio/ogg", Kind::Audio, "ogg", &OGG),
    MediaType::new("audio/mp4", Kind::Audio, "m4a", &MP4),
    MediaType::new("audio/aac", Kind::Audio, "aac", &["audio/aac"]),
    MediaType::new("audio/flac", Kind::Audio, "flac", &["audio/x-flac"]),
    MediaType::new("audio/webm", Kind::Audio, "weba", &MATROSKA),
    MediaType::new("video/mp4", Kind::Video, "mp4", &MP4),
    MediaType::new("video/webm", Kind::Video, "webm", &MATROSKA),
    MediaType::new("video/quicktime", Kind::Video, "mov", &["video/quicktime", "video/mp4"]),
];

impl MediaType {
    const fn new(
        content_type: &'static str,
        kind: Kind,
        extension: &'static str,
        recognised_as: &'static [&'static str],
    ) -> Self {
        Self { content_type, kind, extension, recognised_as }
    }

    /// # Errors
    /// When it is not an accepted type.
    pub(crate) fn parse(content_type: &str) -> Result<&'static Self> {
        TYPES.iter().find(|known| known.content_type.eq_ignore_ascii_case(content_type)).ok_or_else(|| {
            let known: Vec<_> = TYPES.iter().map(|known| known.content_type).collect();
            Error::invalid("contentType", format!("must be one of {}", known.join(", ")))
        })
    }

    /// Whether an object that begins with these bytes can be of this type.
    pub(crate) fn agrees_with(&self, head: &[u8]) -> bool {
        infer::get(head).is_some_and(|found| self.recognised_as.contains(&found.mime_type()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: [(&str, &[u8]); 9] = [
        ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
        ("image/gif", b"GIF89a\x01\0\x01\0"),
        ("image/webp", b"RIFF\0\0\0\0WEBPVP8 "),
        ("audio/mpeg", b"ID3\x04\0\0\0\0\0\0"),
        ("audio/wav", b"RIFF\0\0\0\0WAVEfmt "),
        ("audio/flac", b"fLaC\0\0\0\"\x10\0"),
        ("video/mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"),
        ("video/webm", b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x86\x81\x01\x42\x82\x84webm"),
    ];

    #[test]
    fn bytes_agree_with_their_own_type_and_no_other() {
        let whole = |head: &[u8]| [head, &[0; 512]].concat();
        for (content_type, head) in HEADS {
            for (other, _) in HEADS {
                let agrees = MediaType::parse(other).expect("known").agrees_with(&whole(head));
                assert_eq!(agrees, other == content_type, "{content_type} as {other}");
            }
        }
        let webm = whole(HEADS[8].1);
        assert!(MediaType::parse("audio/webm").expect("known").agrees_with(&webm), "a container holds either");
    }

    #[test]
    fn bytes_of_no_known_format_agree_with_no_type() {
        for head in [&b""[..], b"<svg onload=alert(1)>", b"#!/bin/sh", b"%PDF-1.7", b"MZ\x90\0", &[0; 64]] {
            assert!(TYPES.iter().all(|known| !known.agrees_with(head)), "{head:?}");
        }
    }

    #[test]
    fn types_that_no_browser_shows_or_that_carry_scripts_are_not_taken() {
        for content_type in ["", "image/svg+xml", "text/html", "image/*", "image/png; charset=x", "application/pdf"] {
            assert!(matches!(MediaType::parse(content_type), Err(Error::Invalid { field: "contentType", .. })));
        }
        assert_eq!(MediaType::parse("IMAGE/PNG").expect("known").content_type, "image/png");
    }
}
