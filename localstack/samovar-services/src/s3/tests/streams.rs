//! Bodies on their way: never held in memory, and never seen in part.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::*;

const MIB: usize = 1024 * 1024;
const BODY_BYTES: usize = 96 * MIB;
/// What a body of this size may add to the memory: a fraction of it.
const MAX_GROWTH_BYTES: usize = 24 * MIB;

async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.trim_start_matches("http://")).await.expect("a connection")
}

/// The head of a request to a signed address.
fn head(method: &str, url: &str, served_at: &str, headers: &str) -> String {
    let target = url.strip_prefix(served_at).expect("a local address");
    let host = served_at.trim_start_matches("http://");
    format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n")
}

/// Sends zeros, and reads what is answered; neither is held here.
async fn exchange(url: &str, before: &str, zeros: usize, after: &str) -> (String, usize) {
    let mut stream = connect(url).await;
    stream.write_all(before.as_bytes()).await.expect("sent");
    let piece = vec![0; 64 * 1024];
    let mut left = zeros;
    while left > 0 {
        let length = left.min(piece.len());
        stream.write_all(&piece[..length]).await.expect("sent");
        left -= length;
    }
    stream.write_all(after.as_bytes()).await.expect("sent");
    let (mut first, mut total, mut buffer) = (String::new(), 0, vec![0; 64 * 1024]);
    loop {
        let length = stream.read(&mut buffer).await.expect("read");
        if length == 0 {
            return (first, total);
        }
        if first.is_empty() {
            first = String::from_utf8_lossy(&buffer[..length.min(12)]).into_owned();
        }
        total += length;
    }
}

/// The most memory that this process ever had.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a figure") * 1024
}

/// This test program again, with one of the programs below in place of the tests.
fn program(name: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(std::env::current_exe().expect("this program"));
    let name = format!("s3::tests::streams::{name}");
    command.args(["--exact", &name, "--ignored", "--nocapture", "--test-threads=1"]).kill_on_drop(true);
    command
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn large_bodies_pass_without_being_held_in_memory() {
    // A process of its own, because the peak is the process's.
    let output = program("large_bodies").output().await.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
#[ignore = "a program for large_bodies_pass_without_being_held_in_memory"]
async fn large_bodies() {
    let served = Served::new().await;
    let client = served.client();
    let sign = || presigned::for_seconds(60);
    // All code has run once before the memory is measured.
    let put = client.put_object().bucket(BUCKET).key("big").presigned(sign()).await.expect("a URL");
    exchange(&served.url, &head("PUT", put.uri(), &served.url, "Content-Length: 1\r\n"), 1, "").await;
    let before = peak_bytes();
    let steps = ["PUT", "copy", "GET", "form", "refused form"];
    for step in steps {
        match step {
            "PUT" => {
                let request = head("PUT", put.uri(), &served.url, &format!("Content-Length: {BODY_BYTES}\r\n"));
                assert_eq!(exchange(&served.url, &request, BODY_BYTES, "").await.0, "HTTP/1.1 200");
            }
            "copy" => {
                let copy = client.copy_object().copy_source(format!("{BUCKET}/big")).bucket(BUCKET).key("copy");
                copy.send().await.expect("copied");
            }
            "GET" => {
                let get = client.get_object().bucket(BUCKET).key("copy").presigned(sign()).await.expect("a URL");
                let (status, length) = exchange(&served.url, &head("GET", get.uri(), &served.url, ""), 0, "").await;
                assert_eq!(status, "HTTP/1.1 200");
                assert!(length > BODY_BYTES, "{length}");
            }
            _ => {
                let mut form = forms::Form::new("uploads/form");
                if step == "form" {
                    form.conditions.retain(|condition| condition[0] != "content-length-range");
                }
                let (start, end) = form.around();
                let length = start.len() + BODY_BYTES + end.len();
                let headers = format!("Content-Type: {}\r\nContent-Length: {length}\r\n", forms::content_type());
                let target = format!("{}/{BUCKET}", served.url);
                let request = head("POST", &target, &served.url, &headers) + &start;
                let expected = if step == "form" { "HTTP/1.1 204" } else { "HTTP/1.1 400" };
                assert_eq!(exchange(&served.url, &request, BODY_BYTES, &end).await.0, expected);
            }
        }
        let growth = peak_bytes() - before;
        assert!(growth < MAX_GROWTH_BYTES, "{step}: {} MiB", growth / MIB);
    }
    let size = |key: &'static str| {
        let head = client.head_object().bucket(BUCKET).key(key).send();
        async move { head.await.expect("there").content_length() }
    };
    assert_eq!((size("copy").await, size("uploads/form").await), (Some(BODY_BYTES as i64), Some(BODY_BYTES as i64)));
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_what_was_there() {
    let served = Served::new().await;
    served.put("uploads/a", b"before", "text/plain").await;
    let put = served.client().put_object().bucket(BUCKET).key("uploads/a");
    let put = put.presigned(presigned::for_seconds(60)).await.expect("a URL");
    let (start, _) = forms::Form::new("uploads/a").around();
    let form = format!("Content-Type: {}\r\nContent-Length: {}\r\n", forms::content_type(), start.len() + 1000);
    let target = format!("{}/{BUCKET}", served.url);
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (request, part) in [
        (head("PUT", put.uri(), &served.url, "Content-Length: 1000\r\n"), "half of it"),
        (head("PUT", put.uri(), &served.url, chunked), "5\r\nhalf \r\n"),
        (head("POST", &target, &served.url, &form) + &start, "half"),
    ] {
        let mut stream = connect(&served.url).await;
        stream.write_all(format!("{request}{part}").as_bytes()).await.expect("sent");
        while served.uploads() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(served.get("uploads/a").await.as_deref(), Some(b"before".as_slice()), "while it lasts");
        drop(stream);
        while served.uploads() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(served.get("uploads/a").await.as_deref(), Some(b"before".as_slice()), "{request}");
    }
}

#[tokio::test]
async fn a_reader_sees_one_version_to_its_end_whatever_is_written_meanwhile() {
    let served = Served::new().await;
    let old = vec![1; 4 * MIB];
    served.put("a", &old, "text/plain").await;
    let reading = served.client().get_object().bucket(BUCKET).key("a").send().await.expect("there");
    served.put("a", &vec![2; 5 * MIB], "image/png").await;
    assert_eq!(reading.content_type(), Some("text/plain"));
    assert!(reading.body.collect().await.expect("a body").to_vec() == old, "all of the old one");
    let reading = served.client().get_object().bucket(BUCKET).key("a").send().await.expect("there");
    served.client().delete_object().bucket(BUCKET).key("a").send().await.expect("deleted");
    assert_eq!(reading.content_type(), Some("image/png"));
    assert_eq!(reading.body.collect().await.expect("a body").to_vec().len(), 5 * MIB);
}

#[tokio::test]
async fn a_process_that_is_killed_in_an_upload_leaves_no_object() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut killed =
        program("a_server").env("S3_TEST_DIR", dir.path()).stdout(Stdio::piped()).spawn().expect("a server");
    let mut lines = BufReader::new(killed.stdout.take().expect("piped")).lines();
    let url = loop {
        let line = lines.next_line().await.expect("output").expect("an address before the end");
        if let Some((_, url)) = line.split_once("at ") {
            break url.to_owned();
        }
    };
    let served = Served { url, ..Served::new().await };
    served.put("whole", b"meow", "image/png").await;
    let put = served.client().put_object().bucket(BUCKET).key("half");
    let put = put.presigned(presigned::for_seconds(60)).await.expect("a URL");
    let mut stream = connect(&served.url).await;
    let request = head("PUT", put.uri(), &served.url, "Content-Length: 10000000\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream.write_all(&vec![7; 5 * MIB]).await.expect("sent");
    let uploads = dir.path().join("objects/.uploads");
    let on_disk = || {
        let entries = std::fs::read_dir(&uploads).expect("a folder");
        entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|file| file.len()).sum::<u64>()
    };
    while on_disk() < MIB as u64 {
        tokio::task::yield_now().await;
    }
    killed.kill().await.expect("killed");

    let again = services(Some(dir.path()));
    let bucket = again.s3.as_ref().expect("embedded").store.bucket(BUCKET).expect("a bucket");
    assert!(bucket.get("half").await.expect("a folder").is_none());
    assert!(bucket.get("whole").await.expect("a folder").is_some());
    assert_eq!(on_disk(), 0, "and nothing is left of it");
}

#[tokio::test]
#[ignore = "a program for a_process_that_is_killed_in_an_upload_leaves_no_object"]
#[allow(clippy::disallowed_methods, reason = "what its parent tells it")]
async fn a_server() {
    let dir = std::env::var_os("S3_TEST_DIR").expect("a directory");
    let services = services(Some(Path::new(&dir)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("at http://{}", listener.local_addr().expect("its address"));
    services.serve(listener, CancellationToken::new()).await.expect("served");
}
