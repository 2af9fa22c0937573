//! An object is one file: its body, then its description (JSON), then the length of the description and a mark.
//!
//! Because it is one file, one rename makes the whole object visible. A reader that has opened it gets a body and a
//! description that belong together, even if the object is overwritten or deleted meanwhile. A file that does not end
//! in the mark is not an object.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Result, Seek as _, SeekFrom};
use std::time::{Duration, UNIX_EPOCH};

use s3s::dto::Timestamp;
use serde::{Deserialize, Serialize};

/// The type of an object whose writer gave none.
pub(super) const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

const MARK: &[u8; 8] = b"object/1";
/// The size of the length (little-endian) and the mark.
const END_BYTES: u64 = 4 + MARK.len() as u64;
/// The limit on a description. S3 takes 2 KB of metadata and keys of 1 KB.
const MAX_HEAD_BYTES: u64 = 1024 * 1024;

/// The description of an object by its writer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Description {
    pub(super) content_type: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) cache_control: Option<String>,
    /// The text of the header.
    pub(super) expires: Option<String>,
    /// `x-amz-meta-…`, without the prefix.
    pub(super) metadata: BTreeMap<String, String>,
}

/// Everything that is stored about an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) key: String,
    pub(super) size_bytes: u64,
    pub(super) etag: String,
    pub(super) modified_ms: i64,
    pub(super) description: Description,
    /// Checksums in base64, by the algorithm's name in headers: `crc32`, `sha256`.
    #[serde(default)]
    pub(super) checksums: BTreeMap<String, String>,
}

/// The bytes after the body.
pub(super) fn end(head: &Head) -> Result<Vec<u8>> {
    let mut end = serde_json::to_vec(head)?;
    let length = u32::try_from(end.len()).map_err(std::io::Error::other)?;
    end.extend_from_slice(&length.to_le_bytes());
    end.extend_from_slice(MARK);
    Ok(end)
}

/// Reads the head of an object, and leaves the file at the beginning of the body. Returns `None` if the file is not an
/// object.
pub(super) fn read(file: &mut File) -> Result<Option<Head>> {
    let total = file.metadata()?.len();
    let Some(end_at) = total.checked_sub(END_BYTES) else { return Ok(None) };
    file.seek(SeekFrom::Start(end_at))?;
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let mut mark = [0; MARK.len()];
    file.read_exact(&mut mark)?;
    let length = u64::from(u32::from_le_bytes(length));
    let Some(head_at) = end_at.checked_sub(length).filter(|_| &mark == MARK && length <= MAX_HEAD_BYTES) else {
        return Ok(None);
    };
    file.seek(SeekFrom::Start(head_at))?;
    let mut text = Vec::new();
    file.take(length).read_to_end(&mut text)?;
    file.seek(SeekFrom::Start(0))?;
    let head = serde_json::from_slice::<Head>(&text).ok();
    Ok(head.filter(|head| head.size_bytes == head_at))
}

/// The time when it was stored, in the form of the protocol.
pub(super) fn modified(head: &Head) -> Timestamp {
    modified_at(head.modified_ms)
}

/// A time in the form of the protocol.
pub(super) fn modified_at(epoch_ms: i64) -> Timestamp {
    let since_epoch = Duration::from_millis(u64::try_from(epoch_ms).unwrap_or_default());
    Timestamp::from(UNIX_EPOCH + since_epoch)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn head(size_bytes: u64) -> Head {
        let description = Description { content_type: Some("image/png".to_owned()), ..Description::default() };
        let (key, etag) = ("a/../é".to_owned(), "0".repeat(32));
        Head { key, size_bytes, etag, modified_ms: 7, description, checksums: BTreeMap::new() }
    }

    #[test]
    fn an_object_is_read_as_it_was_written() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"body").and_then(|()| file.write_all(&end(&head(4)).expect("an end"))).expect("written");
        assert_eq!(read(&mut file).expect("read"), Some(head(4)));
        let mut body = [0; 4];
        file.read_exact(&mut body).expect("a body");
        assert_eq!(&body, b"body");
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_no_object() {
        let whole = [b"body".as_slice(), &end(&head(4)).expect("an end")].concat();
        for length in 0..whole.len() {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&whole[..length]).expect("written");
            assert_eq!(read(&mut file).expect("read"), None, "{length} bytes");
        }
    }

    #[test]
    fn a_body_that_is_not_as_long_as_it_should_be_is_no_object() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"bod").and_then(|()| file.write_all(&end(&head(4)).expect("an end"))).expect("written");
        assert_eq!(read(&mut file).expect("read"), None);
    }
}
