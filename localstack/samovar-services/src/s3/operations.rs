//! The operations, between the protocol (`s3s`) and the store. Every other operation is answered NotImplemented.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::sync::Arc;

use futures_util::StreamExt as _;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket as BucketEntry, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, DeletedObject, ETag, GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
    ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput,
    ListPartsOutput, MetadataDirective, ObjectCannedACL, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp,
    TimestampFormat, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::access::Entrance;
use super::changes::{delete, store};
use super::conditions::{self, ReadConditions, WriteConditions, no_such_key};
use super::digests::Digests;
use super::listing;
use super::notifications::{Happening, Origin};
use super::object::{DEFAULT_CONTENT_TYPE, Description, Head, modified, modified_at};
use super::parts::Multiparts;
use super::store::{Bucket, Store};
use super::upload::{Broken, MAX_OBJECT_BYTES};
use crate::needs;

/// S3's limit on the keys of one DeleteObjects.
const MAX_DELETED_AT_ONCE: usize = 1000;
/// S3's limit on all metadata names and values together.
const MAX_METADATA_BYTES: usize = 2 * 1024;
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Operations {
    pub(super) store: Arc<Store>,
    pub(super) multiparts: Multiparts,
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let digests = Digests::announced(&request)?;
        let origin = origin(&request);
        let S3Request { input, trailing_headers, .. } = request;
        refuse_what_is_not_kept(input.acl.as_ref(), input.tagging.is_some())?;
        let bucket = self.bucket(&input.bucket)?;
        let description = Description {
            content_type: input.content_type,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            cache_control: input.cache_control,
            expires: input.expires.and_then(http_date),
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
        };
        check_metadata(&description)?;
        let conditions = WriteConditions { matching: input.if_match, none_matching: input.if_none_match };
        let body = input.body.ok_or_else(|| s3_error!(IncompleteBody, "The request has no body"))?;
        let upload = self.store.upload(&digests.names()).await.map_err(failed)?;
        let arrived = upload.receive(body, MAX_OBJECT_BYTES).await?;
        if input.content_length.is_some_and(|length| u64::try_from(length) != Ok(arrived.size_bytes)) {
            return Err(s3_error!(IncompleteBody, "The body is not as long as its Content-Length says"));
        }
        let trailers = trailing_headers.and_then(|trailers| trailers.take());
        digests.check(&arrived, trailers.as_ref())?;
        let cause = (Happening::Put, origin);
        let head = store(bucket, arrived, &input.key, description, conditions, cause).await?;
        let sum = |name: &str| head.checksums.get(name).cloned();
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(head.etag.clone())),
            checksum_crc32: sum("crc32"),
            checksum_crc32c: sum("crc32c"),
            checksum_crc64nvme: sum("crc64nvme"),
            checksum_sha1: sum("sha1"),
            checksum_sha256: sum("sha256"),
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        let (file, head) = self.object(&input.bucket, &input.key).await?;
        let conditions = ReadConditions {
            matching: input.if_match,
            none_matching: input.if_none_match,
            modified_since: input.if_modified_since,
            unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&head, || conditions::not_modified(&head))?;
        let whole = 0..head.size_bytes;
        let part = match input.range {
            // The error is s3s's InvalidRange, 416.
            Some(range) => range.check(head.size_bytes)?,
            None => whole.clone(),
        };
        let content_range =
            input.range.map(|_| format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), head.size_bytes));
        // Checksums cover the whole object.
        let with_sums = input.checksum_mode.is_some() && part == whole;
        let sum = |name: &str| head.checksums.get(name).filter(|_| with_sums).cloned();
        let length = part.end - part.start;
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(length).ok(),
            content_range,
            e_tag: Some(ETag::Strong(head.etag.clone())),
            last_modified: Some(modified(&head)),
            checksum_crc32: sum("crc32"),
            checksum_crc32c: sum("crc32c"),
            checksum_crc64nvme: sum("crc64nvme"),
            checksum_sha1: sum("sha1"),
            checksum_sha256: sum("sha256"),
            content_type: content_type(&head),
            content_disposition: head.description.content_disposition,
            content_encoding: head.description.content_encoding,
            content_language: head.description.content_language,
            cache_control: head.description.cache_control,
            expires: head.description.expires.as_deref().and_then(timestamp),
            metadata: Some(head.description.metadata.into_iter().collect()),
            body: Some(StreamingBlob::wrap(pieces(file, part.start, length).map_err(failed)?)),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        let (_, head) = self.object(&input.bucket, &input.key).await?;
        let conditions = ReadConditions {
            matching: input.if_match,
            none_matching: input.if_none_match,
            modified_since: input.if_modified_since,
            unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&head, || conditions::not_modified(&head))?;
        let with_sums = input.checksum_mode.is_some();
        let sum = |name: &str| head.checksums.get(name).filter(|_| with_sums).cloned();
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(head.size_bytes).ok(),
            e_tag: Some(ETag::Strong(head.etag.clone())),
            last_modified: Some(modified(&head)),
            checksum_crc32: sum("crc32"),
            checksum_crc32c: sum("crc32c"),
            checksum_crc64nvme: sum("crc64nvme"),
            checksum_sha1: sum("sha1"),
            checksum_sha256: sum("sha256"),
            content_type: content_type(&head),
            content_disposition: head.description.content_disposition,
            content_encoding: head.description.content_encoding,
            content_language: head.description.content_language,
            cache_control: head.description.cache_control,
            expires: head.description.expires.as_deref().and_then(timestamp),
            metadata: Some(head.description.metadata.into_iter().collect()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let cause = (Happening::Copy, origin(&request));
        let input = request.input;
        refuse_what_is_not_kept(input.acl.as_ref(), input.tagging.is_some())?;
        let CopySource::Bucket { bucket: from_bucket, key: from_key, version_id } = &input.copy_source else {
            return Err(s3_error!(NotImplemented, "The local S3 has no access points"));
        };
        check_version(version_id.as_deref())?;
        let replaces = input.metadata_directive.as_ref().is_some_and(|it| it.as_str() == MetadataDirective::REPLACE);
        if **from_bucket == *input.bucket && **from_key == *input.key && !replaces {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        let bucket = self.bucket(&input.bucket)?;
        let (file, source) = self.object(from_bucket, from_key).await?;
        let conditions = ReadConditions {
            matching: input.copy_source_if_match,
            none_matching: input.copy_source_if_none_match,
            modified_since: input.copy_source_if_modified_since,
            unmodified_since: input.copy_source_if_unmodified_since,
        };
        conditions.check(&source, conditions::not_modified_for_copy)?;
        let description = match replaces {
            true => Description {
                content_type: input.content_type,
                content_disposition: input.content_disposition,
                content_encoding: input.content_encoding,
                content_language: input.content_language,
                cache_control: input.cache_control,
                expires: input.expires.and_then(http_date),
                metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            },
            false => source.description,
        };
        check_metadata(&description)?;
        let sums: Vec<&str> = source.checksums.keys().map(String::as_str).collect();
        let upload = self.store.upload(&sums).await.map_err(failed)?;
        let body = pieces(file, 0, source.size_bytes).map_err(failed)?;
        let arrived = upload.receive(body, MAX_OBJECT_BYTES).await?;
        let head = store(bucket, arrived, &input.key, description, WriteConditions::default(), cause).await?;
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(head.etag.clone())),
            last_modified: Some(modified(&head)),
            ..CopyObjectResult::default()
        };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        check_version(request.input.version_id.as_deref())?;
        // S3 reports success for a missing object too.
        let cause = (Happening::Delete, origin(&request));
        delete(bucket, &request.input.key, |_| true, cause).await.map_err(failed)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let origin = origin(&request);
        let wanted = request.input.delete;
        if wanted.objects.is_empty() || wanted.objects.len() > MAX_DELETED_AT_ONCE {
            return Err(s3_error!(
                MalformedXML,
                "The XML you provided was not well-formed or did not validate against our published schema"
            ));
        }
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        let entrance = request.extensions.get::<Arc<Entrance>>();
        for object in wanted.objects {
            check_version(object.version_id.as_deref())?;
            let need = needs::to_delete(&request.input.bucket, &object.key);
            if let Some(Err(denied)) = entrance.map(|entrance| entrance.check(vec![need])) {
                errors.push(s3s::dto::Error {
                    code: Some(denied.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: denied.message().map(str::to_owned),
                    ..s3s::dto::Error::default()
                });
                continue;
            }
            let cause = (Happening::Delete, origin.clone());
            delete(bucket, &object.key, |_| true, cause).await.map_err(failed)?;
            deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        }
        let deleted = (wanted.quiet != Some(true)).then_some(deleted);
        let errors = (!errors.is_empty()).then_some(errors);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, errors, ..DeleteObjectsOutput::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let bucket = self.bucket(&request.input.bucket)?;
        Ok(S3Response::new(listing::list(bucket, request.input)?))
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        Ok(S3Response::new(listing::list_by_marker(bucket, request.input)?))
    }

    async fn list_buckets(&self, request: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let prefix = request.input.prefix;
        let names = self.store.buckets().map(|bucket| bucket.spec.name.clone());
        let asked = names.filter(|name| name.starts_with(prefix.as_deref().unwrap_or_default()));
        // Buckets are the template's, and as old as the process.
        let created = modified_at(self.store.opened_ms);
        let entry =
            |name| BucketEntry { name: Some(name), creation_date: Some(created.clone()), ..BucketEntry::default() };
        let buckets = Some(asked.map(entry).collect());
        Ok(S3Response::new(ListBucketsOutput { buckets, prefix, ..ListBucketsOutput::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.begin_parts(request.input)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.take_part(request).await
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        self.show_parts(request.input)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.put_parts_together(request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.multiparts.end(&input.upload_id, (&input.bucket, &input.key))?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.bucket(&request.input.bucket)?;
        // An empty location means us-east-1.
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }
}

impl Operations {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, multiparts: Multiparts::default() }
    }

    pub(super) fn bucket(&self, name: &str) -> S3Result<&Arc<Bucket>> {
        self.store.bucket(name).ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    async fn object(&self, bucket: &str, key: &str) -> S3Result<(File, Head)> {
        self.bucket(bucket)?.get(key).await.map_err(failed)?.ok_or_else(no_such_key)
    }
}

/// The request of a change, for its events.
pub(super) fn origin<T>(request: &S3Request<T>) -> Origin {
    let entrance = request.extensions.get::<Arc<Entrance>>();
    entrance.map_or_else(|| Origin::itself(String::new()), |entrance| entrance.origin())
}

impl From<Broken> for S3Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::TooLarge(_) => s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size"),
            Broken::Cut(error) => {
                // s3s checks signed bodies as they pass; its errors have no public type.
                let text = error.to_string();
                if text.contains("Sha256Mismatch") {
                    let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
                    let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
                    let mut error = S3Error::with_message(code, message);
                    error.set_status_code(http::StatusCode::BAD_REQUEST);
                    return error;
                }
                if text.contains("SignatureMismatch") {
                    return s3_error!(SignatureDoesNotMatch, "The signature of a chunk does not match");
                }
                let message = "You did not provide the number of bytes specified by the Content-Length HTTP header";
                let mut error = S3Error::with_source(S3ErrorCode::IncompleteBody, error);
                error.set_message(message);
                error
            }
            Broken::Disk(error) => failed(error),
        }
    }
}

/// Logs a failure of the disk, and returns the error for the caller.
pub(super) fn failed(error: io::Error) -> S3Error {
    tracing::error!(%error, "Objects could not be read or changed");
    let mut shown = S3Error::with_source(S3ErrorCode::InternalError, Box::new(error));
    shown.set_message("We encountered an internal error. Please try again.");
    shown
}

/// Refuses ACLs, because buckets enforce their owner, as AWS creates them. Refuses tags, because they would be lost
/// silently.
pub(super) fn refuse_what_is_not_kept(acl: Option<&ObjectCannedACL>, has_tags: bool) -> S3Result<()> {
    if acl.is_some_and(|acl| acl.as_str() != ObjectCannedACL::BUCKET_OWNER_FULL_CONTROL) {
        return Err(s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs"));
    }
    if has_tags {
        return Err(s3_error!(NotImplemented, "The local S3 has no tags"));
    }
    Ok(())
}

/// Each object has one version, which S3 calls `null`.
fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "The specified version does not exist.")),
    }
}

pub(super) fn check_metadata(description: &Description) -> S3Result<()> {
    let bytes: usize = description.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        return Err(s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size"));
    }
    Ok(())
}

/// A range of the file, piece by piece.
fn pieces(
    mut file: File,
    from: u64,
    length: u64,
) -> io::Result<impl futures_util::Stream<Item = io::Result<bytes::Bytes>> + Send + Sync + 'static> {
    file.seek(SeekFrom::Start(from))?;
    Ok(ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(length), PIECE_BYTES).fuse())
}

fn content_type(head: &Head) -> Option<String> {
    Some(head.description.content_type.clone().unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned()))
}

pub(super) fn http_date(time: Timestamp) -> Option<String> {
    let mut text = Vec::new();
    time.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

fn timestamp(http_date: &str) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, http_date).ok()
}
