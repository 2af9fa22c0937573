//! A body on its way in: written to a temporary file, counted and summed, and only as a whole made an object.
//!
//! Whatever ends an upload before that (a broken connection, a wrong sum, a stop) drops it, and the file with it. After a
//! SIGKILL the file stays, and the next start removes it. Bodies pass in pieces; none is held in memory.

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

/// What S3 takes in one upload.
pub(super) const MAX_OBJECT_BYTES: u64 = 5 * 1024 * 1024 * 1024;

const BUFFER_BYTES: usize = 256 * 1024;

/// The sums that an upload can be checked by besides the MD5, by the names that headers have.
pub(super) const CHECKSUMS: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];

pub(super) struct Upload {
    file: BufWriter<File>,
    path: TempPath,
    size_bytes: u64,
    md5: Md5,
    sums: ChecksumHasher,
}

/// A body that has arrived, and what it came to.
#[derive(Debug)]
pub(super) struct Arrived {
    file: File,
    path: TempPath,
    pub(super) size_bytes: u64,
    pub(super) md5: [u8; 16],
    pub(super) checksums: BTreeMap<String, String>,
}

/// Why a body did not arrive.
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
    /// `folder` is on the same file system as the objects. The checksums are by their names.
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

    /// Takes the whole body.
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
        Ok(Arrived {
            file: self.file.into_inner(),
            path: self.path,
            size_bytes: self.size_bytes,
            md5: self.md5.finalize(),
            checksums: by_name(self.sums.finalize()),
        })
    }
}

impl Arrived {
    /// The finished file, to be renamed.
    pub(super) async fn finish(
        mut self,
        key: &str,
        description: Description,
        modified_ms: i64,
    ) -> io::Result<(TempPath, Head)> {
        let head = Head {
            key: key.to_owned(),
            size_bytes: self.size_bytes,
            etag: hex(&self.md5),
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
