//! Multipart uploads. Each part is a file of its own until the parts are joined.
//!
//! An upload becomes an object only when it is completed. Other uploads are lost when the process ends. If an upload is
//! completed twice at the same time, the same object is stored twice, and the second caller is told that the upload
//! does not exist.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::CompletedPart;
use s3s::{S3Result, s3_error};
use tempfile::TempPath;
use tokio_util::io::ReaderStream;

use super::object::Description;
use super::upload::{Arrived, hex};

/// The limits of S3.
const MAX_PARTS: i32 = 10_000;
const LEAST_PART_BYTES: u64 = 5 * 1024 * 1024;

const PIECE_BYTES: usize = 64 * 1024;

/// The uploads that are neither completed nor aborted.
#[derive(Debug, Default)]
pub(super) struct Multiparts(Mutex<HashMap<String, Pending>>);

#[derive(Debug)]
struct Pending {
    bucket: String,
    key: String,
    description: Description,
    /// The names of the checksums that the object gets.
    checksums: Vec<String>,
    parts: BTreeMap<i32, Part>,
}

#[derive(Debug, Clone)]
pub(super) struct Part {
    path: Arc<TempPath>,
    md5: [u8; 16],
    pub(super) size_bytes: u64,
    pub(super) modified_ms: i64,
}

impl Part {
    pub(super) fn new(arrived: Arrived, modified_ms: i64) -> Self {
        let (path, md5, size_bytes) = arrived.into_part();
        Self { path: Arc::new(path), md5, size_bytes, modified_ms }
    }

    pub(super) fn etag(&self) -> String {
        hex(&self.md5)
    }
}

/// The parts that become an object.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) description: Description,
    pub(super) checksums: Vec<String>,
    parts: Vec<Part>,
}

impl Multiparts {
    /// Begins an upload under this id.
    pub(super) fn begin(
        &self,
        id: &str,
        (bucket, key): (&str, &str),
        description: Description,
        checksum: Option<&str>,
    ) {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let checksums = checksum.into_iter().map(str::to_ascii_lowercase).collect();
        self.all().insert(id.to_owned(), Pending { bucket, key, description, checksums, parts: BTreeMap::new() });
    }

    /// Keeps a part. It replaces the earlier part with its number.
    pub(super) fn keep(&self, id: &str, of: (&str, &str), number: i32, part: Part) -> S3Result<()> {
        check_number(number)?;
        find(&mut self.all(), id, of)?.parts.insert(number, part);
        Ok(())
    }

    pub(super) fn check(&self, id: &str, of: (&str, &str)) -> S3Result<()> {
        find(&mut self.all(), id, of).map(|_| ())
    }

    /// The parts so far, by number.
    pub(super) fn parts(&self, id: &str, of: (&str, &str)) -> S3Result<BTreeMap<i32, Part>> {
        Ok(find(&mut self.all(), id, of)?.parts.clone())
    }

    /// Checks the list of parts and takes the parts that it names.
    pub(super) fn whole(&self, id: &str, of: (&str, &str), listed: &[CompletedPart]) -> S3Result<Whole> {
        let mut all = self.all();
        let pending = find(&mut all, id, of)?;
        let mut parts = Vec::new();
        let mut last = 0;
        for part in listed {
            let number = part.part_number.unwrap_or_default();
            if number <= last {
                return Err(s3_error!(InvalidPartOrder, "The list of parts was not in ascending order."));
            }
            last = number;
            let named = part.e_tag.as_ref().map(|etag| etag.value().trim_matches('"'));
            match pending.parts.get(&number) {
                Some(part) if named.is_none_or(|named| named == part.etag()) => parts.push(part.clone()),
                _ => {
                    return Err(s3_error!(
                        InvalidPart,
                        "One or more of the specified parts could not be found. The part may not have been uploaded, \
                         or the specified entity tag may not match the part's entity tag."
                    ));
                }
            }
        }
        if parts.is_empty() {
            return Err(s3_error!(MalformedXML, "The list of parts is empty"));
        }
        if parts[..parts.len() - 1].iter().any(|part| part.size_bytes < LEAST_PART_BYTES) {
            return Err(s3_error!(
                EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed object size."
            ));
        }
        Ok(Whole { description: pending.description.clone(), checksums: pending.checksums.clone(), parts })
    }

    /// Forgets an upload, with its parts.
    pub(super) fn end(&self, id: &str, of: (&str, &str)) -> S3Result<()> {
        let mut all = self.all();
        find(&mut all, id, of)?;
        all.remove(id);
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Whole {
    /// The parts one after the other.
    pub(super) fn body(&self) -> impl Stream<Item = io::Result<bytes::Bytes>> + Send + use<> {
        let paths: Vec<Arc<TempPath>> = self.parts.iter().map(|part| Arc::clone(&part.path)).collect();
        let open = async |path: Arc<TempPath>| {
            let path: &Path = &path;
            let file = tokio::fs::File::open(path).await?;
            Ok::<_, io::Error>(ReaderStream::with_capacity(file, PIECE_BYTES))
        };
        stream::iter(paths).then(open).try_flatten().boxed()
    }

    /// The ETag that S3 gives such an object: the MD5 of the parts' MD5s, and the number of parts.
    pub(super) fn etag(&self) -> String {
        let mut md5 = Md5::new();
        for part in &self.parts {
            md5.update(&part.md5);
        }
        format!("{}-{}", hex(&md5.finalize()), self.parts.len())
    }
}

pub(super) fn check_number(number: i32) -> S3Result<()> {
    if !(1..=MAX_PARTS).contains(&number) {
        return Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"));
    }
    Ok(())
}

fn find<'a>(all: &'a mut HashMap<String, Pending>, id: &str, (bucket, key): (&str, &str)) -> S3Result<&'a mut Pending> {
    let pending = all.get_mut(id).filter(|pending| pending.bucket == bucket && pending.key == key);
    pending.ok_or_else(|| {
        s3_error!(
            NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or \
             completed."
        )
    })
}
