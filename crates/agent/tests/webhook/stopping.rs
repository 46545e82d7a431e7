//! The end: what is under way is answered.

use axum::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{response, review};
use crate::secret::NAME;
use crate::serving::{Serving, eventually};

#[test]
fn told_to_stop_it_goes_on_for_a_while_and_says_so() {
    let serving = Serving::start(&["--linger=300"]);
    serving.tell_to_stop();
    eventually("it isn't ready any more", || serving.curl("/readyz", None).0 == 503);
    assert_eq!(serving.curl("/healthz", None).0, 200);
    assert_eq!(serving.ask(&review())["allowed"], true);
    assert_eq!(serving.logged("stopped"), 0);
}

#[test]
fn the_while_ends() {
    let mut serving = Serving::start(&["--linger=1"]);
    assert_eq!(serving.curl("/readyz", None).0, 200);
    serving.tell_to_stop();
    assert!(serving.end().success());
    eventually("it has said so", || serving.logged("stopped") == 1);
}

#[test]
fn a_review_that_is_half_there_is_answered() {
    let mut serving = Serving::start(&["--linger=0"]);
    let review = review();
    let body = review.to_string();
    let (first, rest) = body.as_bytes().split_at(body.len() / 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = serving.connect(&serving.tls()).await;
        let head = format!("POST /mutate HTTP/1.1\r\nhost: {NAME}\r\ncontent-length: {}\r\n", body.len());
        // The server says so once it has the head and wants the body, so the review is under way for sure.
        stream.write_all(format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut continuing = [0; 25];
        stream.read_exact(&mut continuing).await.unwrap();
        assert_eq!(&continuing, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(first).await.unwrap();
        stream.flush().await.unwrap();
        serving.tell_to_stop();
        eventually("it says that it stops", || serving.logged("stopping") == 1);
        stream.write_all(rest).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {}", StatusCode::OK)), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(response(&review, text)["allowed"], true);
    });
    assert!(serving.end().success());
}
