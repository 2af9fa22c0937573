//! Images, audio and video go straight to storage and back, by addresses that are signed here. No function holds a
//! whole object that a user uploads.
//!
//! | object | what it is |
//! |---|---|
//! | `uploads/USER/KEY` | uploaded and not used; the bucket's lifecycle deletes it |
//! | `media/USER/KEY` | part of a conversation, and deleted with it |
//!
//! A key has meaning only together with its user: it can name only that user's objects. An upload becomes used when it
//! is copied, before its message is admitted. Media of an answer are stored before the answer. Still, at every moment
//! an item leads to each object under `media/`: the message or answer that has the object or, before that, a note that
//! it is about to be written. If no message comes to a note, the janitor deletes the object within two hours. `held` in
//! [`crate::messages`] argues why that is safe. Admission makes sure that an upload is used once.
//!
//! There are two clients: one for the work, and one that only signs for the address under which browsers see the
//! storage. A signature covers the host, so an address that was signed for another host can't be repaired.

#[cfg(test)]
mod hostile;
mod kinds;
mod samples;
mod upload;

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Region, SharedCredentialsProvider};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::clock::Clock;
use crate::config::{Lookup, MediaConfig};
use crate::ids::{MediaKey, Random, UserId};
use crate::{Error, Result};

pub use kinds::Kind;
pub use samples::Sample;
pub use upload::Upload;

use kinds::{HEAD_BYTES, MediaType};

/// How many objects one call of S3 deletes.
const DELETE_BATCH: usize = 1000;

/// An object that is part of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub key: MediaKey,
    pub content_type: String,
    pub bytes: u64,
}

impl Attachment {
    pub fn kind(&self) -> Option<Kind> {
        Kind::of(&self.content_type)
    }
}

#[derive(Debug, Clone)]
pub struct Media {
    s3: Client,
    /// Signs for the address that browsers see. It is never called.
    public: Client,
    credentials: Option<SharedCredentialsProvider>,
    region: Region,
    config: MediaConfig,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
}

impl Media {
    pub fn new(
        aws: &SdkConfig,
        lookup: Lookup<'_>,
        config: MediaConfig,
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
    ) -> Result<Self> {
        let own = aws_sdk_s3::config::Builder::from(aws);
        // This is the SDK's own setting. Here it only decides how a bucket is addressed.
        let endpoint = lookup("AWS_ENDPOINT_URL_S3").or_else(|| lookup("AWS_ENDPOINT_URL"));
        let own = own.force_path_style(endpoint.is_some_and(|url| !is_aws(&url))).build();
        let public = aws_sdk_s3::config::Builder::from(aws)
            .endpoint_url(config.public_endpoint.as_str())
            .force_path_style(!is_aws(&config.public_endpoint))
            .build();
        let region = aws.region().cloned().ok_or(Error::ConfigMissing { name: "AWS_REGION" })?;
        Ok(Self {
            s3: Client::from_conf(own),
            public: Client::from_conf(public),
            credentials: aws.credentials_provider(),
            region,
            config,
            clock,
            random,
        })
    }

    /// Makes an upload part of a conversation.
    ///
    /// # Errors
    /// [`Error::MediaNotFound`] when this user has no such upload. [`Error::MediaMismatch`] when its bytes are not of
    /// its type.
    pub async fn take(&self, user: &UserId, key: &MediaKey) -> Result<Attachment> {
        let upload = object("uploads", user, key);
        // The answer to a read of the first bytes also says how large the whole object is.
        let head = self
            .s3
            .get_object()
            .bucket(&self.config.bucket)
            .key(&upload)
            .range(format!("bytes=0-{}", HEAD_BYTES - 1))
            .send()
            .await
            .map_err(|error| match error.as_service_error() {
                Some(service) if service.is_no_such_key() => Error::MediaNotFound,
                _ => Error::service("GetObject", &error),
            })?;
        let content_type = head.content_type().unwrap_or_default().to_owned();
        let bytes = head.content_range().and_then(total).ok_or_else(|| Error::Corrupt {
            key: upload.clone(),
            detail: "the storage did not say how large the object is".to_owned(),
        })?;
        let first = head.body.collect().await.map_err(|error| Error::service("GetObject", &error))?;
        let agrees = MediaType::parse(&content_type).is_ok_and(|known| known.agrees_with(&first.into_bytes()));
        if !agrees {
            return Err(Error::MediaMismatch { content_type });
        }
        if bytes > self.config.max_bytes {
            return Err(Error::MediaTooLarge { actual_bytes: bytes, limit_bytes: self.config.max_bytes });
        }
        self.s3
            .copy_object()
            .bucket(&self.config.bucket)
            .copy_source(format!("{}/{upload}", self.config.bucket))
            .key(object("media", user, key))
            .send()
            .await
            .map_err(|error| Error::service("CopyObject", &error))?;
        Ok(Attachment { key: key.clone(), content_type, bytes })
    }

    /// Stores media of an answer. The same key again is the same object again.
    pub async fn store(&self, user: &UserId, key: MediaKey, sample: Sample) -> Result<Attachment> {
        let bytes = sample.bytes.len() as u64;
        self.s3
            .put_object()
            .bucket(&self.config.bucket)
            .key(object("media", user, &key))
            .content_type(sample.content_type)
            .body(ByteStream::from(sample.bytes))
            .send()
            .await
            .map_err(|error| Error::service("PutObject", &error))?;
        Ok(Attachment { key, content_type: sample.content_type.to_owned(), bytes })
    }

    /// Uploads as a browser does with a presigned POST.
    #[cfg(test)]
    pub(crate) async fn put_upload(&self, user: &UserId, key: &MediaKey, sample: Sample) {
        let put = self.s3.put_object().bucket(&self.config.bucket).key(object("uploads", user, key));
        let put = put.content_type(sample.content_type).body(ByteStream::from(sample.bytes));
        put.send().await.expect("PutObject");
    }

    #[cfg(test)]
    pub(crate) async fn expire_upload(&self, user: &UserId, key: &MediaKey) {
        let delete = self.s3.delete_object().bucket(&self.config.bucket).key(object("uploads", user, key));
        delete.send().await.expect("DeleteObject");
    }

    /// The keys of all objects that are part of a conversation or will be.
    #[cfg(test)]
    pub(crate) async fn stored(&self) -> Vec<String> {
        let list = self.s3.list_objects_v2().bucket(&self.config.bucket).prefix("media/").send().await;
        let key = |object: &aws_sdk_s3::types::Object| object.key()?.rsplit('/').next().map(str::to_owned);
        list.expect("ListObjectsV2").contents().iter().filter_map(key).collect()
    }

    /// An address that gives the object, for a while, to anybody who has the address.
    pub async fn link(&self, user: &UserId, key: &MediaKey) -> Result<String> {
        self.sign_get(object("media", user, key)).await
    }

    /// The same for an object that is part of a conversation or not used yet.
    ///
    /// # Errors
    /// [`Error::MediaNotFound`] when it is neither.
    pub async fn find_link(&self, user: &UserId, key: &MediaKey) -> Result<String> {
        for folder in ["media", "uploads"] {
            let name = object(folder, user, key);
            match self.s3.head_object().bucket(&self.config.bucket).key(&name).send().await {
                Ok(_) => return self.sign_get(name).await,
                Err(error) if error.as_service_error().is_some_and(|service| service.is_not_found()) => {}
                Err(error) => return Err(Error::service("HeadObject", &error)),
            }
        }
        Err(Error::MediaNotFound)
    }

    async fn sign_get(&self, name: String) -> Result<String> {
        let signing =
            PresigningConfig::expires_in(self.config.presign).map_err(|error| Error::service("presign", &error))?;
        let request = self.public.get_object().bucket(&self.config.bucket).key(name).presigned(signing).await;
        Ok(request.map_err(|error| Error::service("presign", &error))?.uri().to_owned())
    }

    /// Deletes objects of conversations. An object that is already gone counts as deleted.
    pub async fn delete(&self, user: &UserId, keys: &[MediaKey]) -> Result<()> {
        for keys in keys.chunks(DELETE_BATCH) {
            let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(object("media", user, key)).build());
            let objects = objects.collect::<std::result::Result<Vec<_>, _>>().map_err(bug)?;
            let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(bug)?;
            let deleted = self.s3.delete_objects().bucket(&self.config.bucket).delete(delete).send().await;
            let deleted = deleted.map_err(|error| Error::service("DeleteObjects", &error))?;
            if let Some(error) = deleted.errors().first() {
                let detail = error.message().or(error.code()).unwrap_or_default().to_owned();
                return Err(Error::Service { operation: "DeleteObjects", detail });
            }
        }
        Ok(())
    }
}

/// The path of a user's object. The user's id may have characters that do not fit a path.
fn object(folder: &str, user: &UserId, key: &MediaKey) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(user.as_str());
    let user = digest[..16].iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    format!("{folder}/{user}/{key}")
}

/// The size of the whole object in `bytes 0-99/1234`.
fn total(content_range: &str) -> Option<u64> {
    content_range.rsplit_once('/')?.1.parse().ok()
}

/// AWS addresses buckets by host name, others by path.
fn is_aws(endpoint: &str) -> bool {
    let host = endpoint.split("://").nth(1).unwrap_or(endpoint).split(['/', ':']).next().unwrap_or_default();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// The SDK's builders fail only if a required member was not set.
fn bug(error: aws_sdk_s3::error::BuildError) -> Error {
    Error::Corrupt { key: "request".to_owned(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::user;

    #[test]
    fn a_key_names_an_object_of_its_user_only() {
        let key = MediaKey::parse("6f9619ff-8b86-4011-b42d-00c04fc964ff.png").expect("a key");
        let (alice, bob) = (object("media", &user("alice"), &key), object("media", &user("bob"), &key));
        assert!(alice != bob && alice.ends_with(key.as_str()));
        let odd = object("media", &user("../auth0|x/y z"), &key);
        assert!(odd.chars().all(|c| c.is_ascii_alphanumeric() || "/-.".contains(c)) && !odd.contains(".."), "{odd}");
    }

    #[test]
    fn buckets_are_addressed_by_host_on_aws_and_by_path_elsewhere() {
        for aws in ["https://s3.eu-central-1.amazonaws.com", "https://s3.cn-north-1.amazonaws.com.cn/"] {
            assert!(is_aws(aws), "{aws}");
        }
        for other in ["http://minio:9000", "http://127.0.0.1:8000", "https://amazonaws.com.example.org", "minio"] {
            assert!(!is_aws(other), "{other}");
        }
    }
}
