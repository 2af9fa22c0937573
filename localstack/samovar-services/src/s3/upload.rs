//! Receives a body: it is written to a temporary file, counted and summed, and becomes an object only when it is
//! complete.
//!
//! If anything ends the upload earlier (a broken connection, a wrong checksum, a stop), the upload is dropped together
//! with its file. After a SIGKILL the file remains, and the next start removes it. Bodies pass in pieces and are never
//! held in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::Checksum;
use tempfile::{NamedTempFile, TempPath};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};

use super::object::{self, Description, Head};

/// S3's limit on one upload.
pub(super) const MAX_OBJECT_BYTES: u64 = 5 * 1024 * 1024 * 1024;

const BUFFER_BYTES: usize = 256 * 1024;

/// The checksums besides the MD5, by their names in headers.
pub(super) const CHECKSUMS: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];

pub(super) struct Upload {
    file: BufWriter<File>,
    path: TempPath,
    size_bytes: u64,
    md5: Md5,
    sums: ChecksumHasher,
}

/// A complete body with its size and checksums.
#[derive(Debug)]
pub(super) struct Arrived {
    file: File,
    path: TempPath,
    pub(super) size_bytes: u64,
    pub(super) md5: [u8; 16],
    pub(super) etag: String,
    pub(super) checksums: BTreeMap<String, String>,
}

/// The reason why a body is not complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("The body has more than {0} bytes")]
    TooLarge(u64),
    #[error("The body broke off: {0}")]
    Cut(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl Upload {
    /// `folder` must be on the same file system as the objects. `checksums` are names.
    pub(super) async fn new(folder: &Path, checksums: &[&str]) -> io::Result<Self> {
        let folder = folder.to_owned();
        let made = tokio::task::spawn_blocking(move || NamedTempFile::new_in(folder)).await;
        let (file, path) = made.map_err(io::Error::other)??.into_parts();
        let wanted = |name: &str| checksums.contains(&name);
        let sums = ChecksumHasher {
            crc32: wanted("crc32").then(Default::default),
            crc32c: wanted("crc32c").then(Default::default),
            crc64nvme: wanted("crc64nvme").then(Default::default),
            sha1: wanted("sha1").then(Default::default),
            sha256: wanted("sha256").then(Default::default),
        };
        let file = BufWriter::with_capacity(BUFFER_BYTES, File::from_std(file));
        Ok(Self { file, path, size_bytes: 0, md5: Md5::new(), sums })
    }

    /// Receives the whole body.
    pub(super) async fn receive<E>(
        mut self,
        body: impl Stream<Item = Result<Bytes, E>>,
        max_bytes: u64,
    ) -> Result<Arrived, Broken>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut body = std::pin::pin!(body);
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| Broken::Cut(error.into()))?;
            self.size_bytes += piece.len() as u64;
            if self.size_bytes > max_bytes {
                return Err(Broken::TooLarge(max_bytes));
            }
            self.md5.update(&piece);
            self.sums.update(&piece);
            self.file.write_all(&piece).await?;
        }
        self.file.flush().await?;
        let md5 = self.md5.finalize();
        Ok(Arrived {
            file: self.file.into_inner(),
            path: self.path,
            size_bytes: self.size_bytes,
            md5,
            etag: hex(&md5),
            checksums: by_name(self.sums.finalize()),
        })
    }
}

impl Arrived {
    /// Makes it a part of a multipart upload. Returns its file, MD5 and size.
    pub(super) fn into_part(self) -> (TempPath, [u8; 16], u64) {
        (self.path, self.md5, self.size_bytes)
    }

    /// Returns the finished file, which is to be renamed.
    pub(super) async fn finish(
        mut self,
        key: &str,
        description: Description,
        modified_ms: i64,
    ) -> io::Result<(TempPath, Head)> {
        let head = Head {
            key: key.to_owned(),
            size_bytes: self.size_bytes,
            etag: self.etag,
            modified_ms,
            description,
            checksums: self.checksums,
        };
        self.file.write_all(&object::end(&head)?).await?;
        self.file.flush().await?;
        Ok((self.path, head))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn by_name(sums: Checksum) -> BTreeMap<String, String> {
    let sums = [
        ("crc32", sums.checksum_crc32),
        ("crc32c", sums.checksum_crc32c),
        ("crc64nvme", sums.checksum_crc64nvme),
        ("sha1", sums.checksum_sha1),
        ("sha256", sums.checksum_sha256),
    ];
    sums.into_iter().filter_map(|(name, sum)| Some((name.to_owned(), sum?))).collect()
}
