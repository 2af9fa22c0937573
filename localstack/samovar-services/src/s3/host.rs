//! The bucket in the host name of a request. Functions find S3 at one address with the bucket in the path. But an SDK
//! that does not read that address uses S3's own names, with the bucket in front
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html>).

use http::header::HOST;
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// S3's own names, and those of the stack, which have no bucket.
#[derive(Debug)]
pub(super) struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let named = VirtualHost::new(host);
        Ok(match bucket_in(host) {
            Some(bucket) => named.with_bucket(bucket),
            None => named,
        })
    }
}

/// The bucket and the key that a request is for. Both are empty for a request without a bucket.
pub(super) fn addressed<Body>(request: &http::Request<Body>) -> (&str, &str) {
    let path = request.uri().path().trim_start_matches('/');
    match request.headers().get(HOST).and_then(|host| bucket_in(host.to_str().ok()?)) {
        Some(bucket) => (bucket, path),
        None => path.split_once('/').unwrap_or((path, "")),
    }
}

/// `BUCKET.s3.amazonaws.com`, `BUCKET.s3.REGION.amazonaws.com` or `BUCKET.s3-REGION.amazonaws.com`. A bucket's name may
/// have dots.
fn bucket_in(host: &str) -> Option<&str> {
    let name = host.split(':').next()?.strip_suffix(".amazonaws.com")?;
    let of_region = |between: &str| {
        let (bucket, region) = name.rsplit_once(between)?;
        (!region.contains('.')).then_some(bucket)
    };
    name.strip_suffix(".s3").or_else(|| of_region(".s3.")).or_else(|| of_region(".s3-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_in_the_name_or_in_the_path() {
        for (host, path, expected) in [
            ("127.0.0.1:8000", "/photos/a/b.png", ("photos", "a/b.png")),
            ("127.0.0.1:8000", "/photos", ("photos", "")),
            ("127.0.0.1:8000", "/", ("", "")),
            ("s3.us-east-1.amazonaws.com", "/photos/a", ("photos", "a")),
            ("s3.amazonaws.com", "/photos/a", ("photos", "a")),
            ("photos.s3.amazonaws.com", "/a/b.png", ("photos", "a/b.png")),
            ("my.photos.s3.us-east-1.amazonaws.com:443", "/a", ("my.photos", "a")),
            ("photos.s3-eu-west-1.amazonaws.com", "/", ("photos", "")),
            ("photos.s3.example", "/photos/a", ("photos", "a")),
            ("sqs.us-east-1.amazonaws.com", "/1/q", ("1", "q")),
        ] {
            let request = http::Request::builder().uri(path).header(HOST, host).body(()).unwrap();
            assert_eq!(addressed(&request), expected, "{host}{path}");
        }
        let request = http::Request::builder().uri("/photos/a").body(()).unwrap();
        assert_eq!(addressed(&request), ("photos", "a"));
    }
}
