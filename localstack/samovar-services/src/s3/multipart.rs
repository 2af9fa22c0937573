//! A browser's form (`multipart/form-data`), read part by part and piece by piece.
//!
//! What is held is what came in last, and a part is handed on as far as it can't be the beginning of its end.

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};

/// Of a part's headers. Browsers need some hundred.
const MAX_HEAD_BYTES: usize = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum FormError {
    #[error("{0}")]
    Malformed(&'static str),
    #[error("It breaks off before its end")]
    Incomplete,
    #[error("It breaks off: {0}")]
    Cut(#[from] axum::Error),
}

#[derive(Debug)]
pub(super) struct Form<Body> {
    body: Body,
    buffer: BytesMut,
    /// What ends a part.
    delimiter: Vec<u8>,
    in_part: bool,
}

/// What a part says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) filename: Option<String>,
}

impl<Body: Stream<Item = Result<Bytes, axum::Error>> + Unpin> Form<Body> {
    /// Nothing if the header's boundary is missing.
    pub(super) fn new(body: Body, content_type: &str) -> Option<Self> {
        let boundary = parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty())?;
        // So that the first part begins as the others do.
        let buffer = BytesMut::from("\r\n");
        Some(Self { body, buffer, delimiter: format!("\r\n--{boundary}").into_bytes(), in_part: true })
    }

    /// Goes on to the next part, past what was not read of this one. Nothing at the form's end.
    pub(super) async fn next_part(&mut self) -> Result<Option<Part>, FormError> {
        while self.piece().await?.is_some() {}
        self.at_least(2).await?;
        if self.buffer.starts_with(b"--") {
            return Ok(None);
        }
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(FormError::Malformed("The headers of a part are too long"));
            }
            self.fill().await?;
        };
        let head = self.buffer.split_to(end);
        self.buffer.advance(4);
        self.in_part = true;
        let head =
            std::str::from_utf8(&head).map_err(|_| FormError::Malformed("The headers of a part are not UTF-8"))?;
        let disposition = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
        });
        let disposition = disposition.ok_or(FormError::Malformed("A part has no Content-Disposition"))?;
        let name = parameter(disposition, "name").ok_or(FormError::Malformed("A part has no name"))?;
        Ok(Some(Part { name, filename: parameter(disposition, "filename") }))
    }

    /// The next piece of the part; nothing at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, FormError> {
        while self.in_part {
            if let Some(at) = memchr::memmem::find(&self.buffer, &self.delimiter) {
                let last = self.buffer.split_to(at).freeze();
                self.buffer.advance(self.delimiter.len());
                self.in_part = false;
                return Ok(Some(last).filter(|last| !last.is_empty()));
            }
            // The delimiter may have begun in the bytes that are kept.
            let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if sure > 0 {
                return Ok(Some(self.buffer.split_to(sure).freeze()));
            }
            self.fill().await?;
        }
        Ok(None)
    }

    /// The rest of the part as a stream.
    pub(super) fn into_pieces(self) -> impl Stream<Item = Result<Bytes, FormError>> {
        futures_util::stream::try_unfold(
            self,
            |mut form| async move { Ok(form.piece().await?.map(|piece| (piece, form))) },
        )
    }

    async fn at_least(&mut self, bytes: usize) -> Result<(), FormError> {
        while self.buffer.len() < bytes {
            self.fill().await?;
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<(), FormError> {
        let piece = self.body.next().await.ok_or(FormError::Incomplete)??;
        self.buffer.extend_from_slice(&piece);
        Ok(())
    }
}

/// A parameter of a header: `form-data; name="a"; filename="b;c.png"`. Browsers write a quote in a name as `%22`, others as
/// `\"`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', ';', '\t']);
        let value: String;
        if let Some(quoted) = after.trim_start().strip_prefix('"') {
            let mut is_escaped = false;
            let end = quoted.find(|c| {
                let ends = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                ends
            })?;
            value = quoted[..end].replace("\\\"", "\"").replace("%22", "\"");
            rest = &quoted[end + 1..];
        } else {
            let (plain, after) = after.split_once(';').unwrap_or((after, ""));
            value = plain.trim().to_owned();
            rest = after;
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na\r\n--B\r\n\
        content-disposition: form-data; filename=\"a;b.png\"; name=file\r\nContent-Type: image/png\r\n\r\n\
        \r\n--\r\n-B\r\n--\r\n--B\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--B--\r\n";

    async fn read(text: &str, piece: usize) -> Result<Vec<(Part, String)>, FormError> {
        let pieces = text.as_bytes().chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece)));
        let body = futures_util::stream::iter(pieces.collect::<Vec<_>>());
        let mut form = Form::new(body, "multipart/form-data; charset=utf-8; boundary=\"B\"").expect("a boundary");
        let mut parts = Vec::new();
        while let Some(part) = form.next_part().await? {
            let mut value = Vec::new();
            while let Some(piece) = form.piece().await? {
                value.extend_from_slice(&piece);
            }
            parts.push((part, String::from_utf8(value).expect("text")));
        }
        Ok(parts)
    }

    #[tokio::test]
    async fn a_form_is_the_same_however_it_comes_in() {
        let part = |name: &str, filename: Option<&str>, value: &str| {
            (Part { name: name.to_owned(), filename: filename.map(str::to_owned) }, value.to_owned())
        };
        let expected =
            [part("key", None, "a"), part("file", Some("a;b.png"), "\r\n--\r\n-B\r\n--"), part("empty", None, "")];
        for piece in 1..=FORM.len() {
            assert_eq!(read(FORM, piece).await.expect("a form"), expected, "{piece} bytes at once");
        }
    }

    #[tokio::test]
    async fn a_form_that_is_cut_off_is_an_error() {
        let whole = FORM.len() - "--\r\n".len();
        for length in 0..whole {
            assert!(read(&FORM[..length], 7).await.is_err(), "{length} bytes");
        }
    }

    #[test]
    fn parameters_are_quoted_in_many_ways() {
        let header = "form-data; name=\"a\\\"b\"; filename=\"c%22d\"; other = plain ";
        assert_eq!(parameter(header, "name").as_deref(), Some("a\"b"));
        assert_eq!(parameter(header, "filename").as_deref(), Some("c\"d"));
        assert_eq!(parameter(header, "OTHER").as_deref(), Some("plain"));
        assert_eq!(parameter(header, "none"), None);
        assert_eq!(parameter("form-data; name=\"a", "name"), None);
    }
}
