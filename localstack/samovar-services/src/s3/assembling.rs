//! The operations of multipart uploads.

use s3s::dto::{
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, ListPartsInput, ListPartsOutput, Part as PartEntry, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::changes::store;
use super::conditions::WriteConditions;
use super::digests::Digests;
use super::notifications::Happening;
use super::object::{Description, modified_at};
use super::operations::{Operations, check_metadata, failed, http_date, origin, refuse_what_is_not_kept};
use super::parts::{Part, check_number};
use super::upload::MAX_OBJECT_BYTES;
use crate::clock::now_ms;
use crate::ids::request_id;

/// S3's limits: the size of an object of many parts, and the number of parts in one list.
const MAX_WHOLE_BYTES: u64 = 5 * 1024 * 1024 * 1024 * 1024;
const MAX_LISTED_PARTS: i32 = 1000;

impl Operations {
    pub(super) fn begin_parts(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        refuse_what_is_not_kept(input.acl.as_ref(), input.tagging.is_some())?;
        self.bucket(&input.bucket)?;
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
        let id = request_id();
        let algorithm = input.checksum_algorithm.as_ref().map(|algorithm| algorithm.as_str());
        self.multiparts.begin(&id, (&input.bucket, &input.key), description, algorithm);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn take_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let digests = Digests::announced(&request)?;
        let S3Request { input, trailing_headers, .. } = request;
        check_number(input.part_number)?;
        let of = (input.bucket.as_str(), input.key.as_str());
        self.multiparts.check(&input.upload_id, of)?;
        let body = input.body.ok_or_else(|| s3_error!(IncompleteBody, "The request has no body"))?;
        let upload = self.store.upload(&digests.names()).await.map_err(failed)?;
        let arrived = upload.receive(body, MAX_OBJECT_BYTES).await?;
        if input.content_length.is_some_and(|length| u64::try_from(length) != Ok(arrived.size_bytes)) {
            return Err(s3_error!(IncompleteBody, "The body is not as long as its Content-Length says"));
        }
        let trailers = trailing_headers.and_then(|trailers| trailers.take());
        digests.check(&arrived, trailers.as_ref())?;
        let sums = arrived.checksums.clone();
        let sum = |name: &str| sums.get(name).cloned();
        let part = Part::new(arrived, now_ms());
        let etag = part.etag();
        self.multiparts.keep(&input.upload_id, of, input.part_number, part)?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: sum("crc32"),
            checksum_crc32c: sum("crc32c"),
            checksum_crc64nvme: sum("crc64nvme"),
            checksum_sha1: sum("sha1"),
            checksum_sha256: sum("sha256"),
            ..UploadPartOutput::default()
        }))
    }

    pub(super) fn show_parts(&self, input: ListPartsInput) -> S3Result<S3Response<ListPartsOutput>> {
        let parts = self.multiparts.parts(&input.upload_id, (&input.bucket, &input.key))?;
        let entry = |(number, part): (i32, Part)| PartEntry {
            part_number: Some(number),
            e_tag: Some(ETag::Strong(part.etag())),
            size: i64::try_from(part.size_bytes).ok(),
            last_modified: Some(modified_at(part.modified_ms)),
            ..PartEntry::default()
        };
        let after = input.part_number_marker.unwrap_or_default();
        let most = usize::try_from(input.max_parts.unwrap_or(MAX_LISTED_PARTS).clamp(0, MAX_LISTED_PARTS)).unwrap_or(0);
        let mut left = parts.into_iter().filter(|(number, _)| *number > after);
        let parts: Vec<PartEntry> = left.by_ref().take(most).map(entry).collect();
        let is_truncated = left.next().is_some();
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            is_truncated: Some(is_truncated),
            next_part_number_marker: parts.last().and_then(|part| part.part_number).filter(|_| is_truncated),
            parts: Some(parts).filter(|parts| !parts.is_empty()),
            ..ListPartsOutput::default()
        }))
    }

    pub(super) async fn put_parts_together(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let cause = (Happening::CompleteMultipartUpload, origin(&request));
        let input = request.input;
        let bucket = self.bucket(&input.bucket)?;
        let of = (input.bucket.as_str(), input.key.as_str());
        let listed = input.multipart_upload.and_then(|listed| listed.parts).unwrap_or_default();
        let whole = self.multiparts.whole(&input.upload_id, of, &listed)?;
        let names: Vec<&str> = whole.checksums.iter().map(String::as_str).collect();
        let upload = self.store.upload(&names).await.map_err(failed)?;
        let mut arrived = upload.receive(whole.body(), MAX_WHOLE_BYTES).await?;
        arrived.etag = whole.etag();
        let conditions = WriteConditions { matching: input.if_match, none_matching: input.if_none_match };
        let head = store(bucket, arrived, &input.key, whole.description, conditions, cause).await?;
        self.multiparts.end(&input.upload_id, of)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(head.etag.clone())),
            ..CompleteMultipartUploadOutput::default()
        }))
    }
}
