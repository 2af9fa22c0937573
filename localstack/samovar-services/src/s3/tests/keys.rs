//! Keys that would be paths somewhere else.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// All files below it, but those of the harness's own bucket.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path.display().to_string()) }
    }
    found.sort();
    found
}

#[tokio::test]
async fn keys_that_look_like_paths_are_keys_like_any_other() {
    let served = Served::new().await;
    let client = served.client();
    let long = "x/".repeat(512);
    let tricks = [
        "..",
        "../local-other/a",
        "../../outside",
        "a/../../b",
        "/etc/passwd",
        "//a//b//",
        "a/",
        "a",
        "a/b",
        "A",
        ".",
        "./a",
        "%2e%2e/a",
        "..%2fa",
        "a\\..\\b",
        "nul\0byte",
        "line\nbreak",
        ".uploads/a",
        "é",
        "e\u{301}",
        " a ",
        "a?b#c&d=e+f",
        long.as_str(),
    ];
    for key in tricks {
        let put = client.put_object().bucket(BUCKET).key(key).body(key.as_bytes().to_vec().into());
        put.send().await.unwrap_or_else(|error| panic!("{key:?}: {error:?}"));
    }
    for key in tricks {
        assert_eq!(served.get(key).await.as_deref(), Some(key.as_bytes()), "{key:?}");
    }
    let below = files(served.dir.path());
    assert_eq!(below.len(), tricks.len());
    let folder = served.dir.path().join("objects").join(BUCKET);
    for file in below {
        let name = Path::new(&file).strip_prefix(&folder).expect("in the bucket's folder").display().to_string();
        assert!(name.len() == 64 && name.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
    }
    let too_long = client.put_object().bucket(BUCKET).key("x".repeat(1025)).body(Vec::new().into()).send().await;
    assert!(too_long.is_err());
    for key in tricks {
        client.delete_object().bucket(BUCKET).key(key).send().await.expect("deleted");
        assert_eq!(served.get(key).await, None, "{key:?}");
    }
    assert_eq!(files(served.dir.path()), Vec::<String>::new());
}

/// As no client library would send it.
async fn raw(served: &Served, target: &str) -> String {
    let address = served.url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn addresses_that_lead_out_of_the_bucket_lead_nowhere() {
    let served = Served::new().await;
    for target in [
        "/local-media/../local-other/a",
        "/local-media/%2e%2e/%2e%2e/lock",
        "/local-media//etc/passwd",
        "/local-media/%00",
        "/local-media/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/local-media/a/../../..//etc/passwd",
    ] {
        let answer = raw(&served, target).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
    }
    for target in ["/local-media/%ff", "/local-media/%"] {
        let answer = raw(&served, target).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{target}: {answer}");
    }
    for target in ["/../local-media/a", "/local%2dmedia/a", "/.uploads/a", "/objects/local-media/a"] {
        let answer = raw(&served, target).await;
        assert!(answer.starts_with("HTTP/1.1 404 ") || answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
    }
}
