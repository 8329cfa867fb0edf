//! What servers answer over real HTTP, and what is made of it.
//!
//! Rule: the clients are those that a run has, with all that they repeat and follow by themselves.

use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use ulid::Ulid;

use crate::error::ErrorKind;
use crate::repository::keys::Key;
use crate::repository::store::Attempt;
use crate::repository::store::tests::{s3, s3_by};
use crate::repository::stub::{Request, Stub, response};

/// A server that says one thing to whoever writes, and knows no object.
async fn refusing(status: u16, code: &'static str) -> Stub {
    Stub::start(Duration::ZERO, move |Request { method, .. }| async move {
        let body = format!("<Error><Code>{code}</Code></Error>");
        match method.as_str() {
            "GET" => response(404, b"<Error><Code>NoSuchKey</Code></Error>", false),
            _ => response(status, body.as_bytes(), false),
        }
    })
    .await
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_is_a_setting() {
    let stranger = refusing(200, "").await;
    let there = format!("location: {}/bucket?token=canary", stranger.endpoint);
    let region = "x-amz-bucket-region: eu-west-1".to_owned();
    let place = stranger.endpoint.as_str();
    for (status, header, place) in [
        (301, &there, place),
        (302, &there, place),
        (307, &there, place),
        (308, &there, place),
        (301, &region, "region eu-west-1"),
    ] {
        let header = header.clone();
        let server = Stub::start(Duration::ZERO, move |_| {
            let header = header.clone();
            async move {
                let head = format!("HTTP/1.1 {status} As Told\r\n{header}\r\ncontent-length: 0\r\n\r\n");
                head.into_bytes()
            }
        })
        .await;
        let store = s3(&server.endpoint);
        for error in [
            store.create("a", "x".into()).await.expect_err("moved"),
            store.try_read("a").await.expect_err("moved"),
            store.list("a").await.expect_err("moved"),
        ] {
            assert_eq!(error.kind(), ErrorKind::Config, "{status}: {error}");
            let remedy = error.remedy_text().unwrap_or_default();
            assert!(remedy.contains("region") && remedy.contains("endpoint"), "{status}: {error:?}");
            assert!(error.to_string().contains(place) && !error.to_string().contains("canary"), "{error}");
        }
        assert_eq!(server.seen().len(), 4, "asked again: {:?}", server.seen());
    }
    assert_eq!(stranger.seen().len(), 0, "a stranger was asked: {:?}", stranger.seen());
}

#[tokio::test]
async fn what_a_store_refuses_is_a_setting_and_not_asked_for_again() {
    for (status, code, kind) in [
        (400, "InvalidArgument", ErrorKind::Config),
        (400, "InvalidRequest", ErrorKind::Config),
        (400, "ExpiredToken", ErrorKind::Config),
        (403, "AccessDenied", ErrorKind::Config),
        (405, "MethodNotAllowed", ErrorKind::Config),
        (411, "MissingContentLength", ErrorKind::Config),
        (413, "EntityTooLarge", ErrorKind::Config),
        (400, "RequestTimeout", ErrorKind::Unavailable),
        (400, "BadDigest", ErrorKind::Unavailable),
        (503, "SlowDown", ErrorKind::Unavailable),
    ] {
        let server = refusing(status, code).await;
        let error = s3(&server.endpoint).create("a", "x".into()).await.expect_err(code);
        assert_eq!(error.kind(), kind, "{status} {code}: {error}");
        assert!(error.remedy_text().is_some(), "{error:?}");
        let puts = server.seen().iter().filter(|one| one.method == "PUT").count();
        assert_eq!(puts == 1, kind == ErrorKind::Config, "{status} {code}: {puts} puts");
    }
}

#[tokio::test]
async fn whoever_is_not_let_delete_or_overwrite_is_refused_or_unclear_and_never_in_error() {
    let key = Key::Probe { probe: Ulid(1), name: "write".to_owned() };
    for status in [400, 401, 403, 405, 409, 412, 423, 429] {
        let server = refusing(status, "ToldSo").await;
        let store = s3(&server.endpoint);
        let is_refused = matches!(status, 401 | 403 | 405);
        for attempt in [store.delete_probe(&key).await, store.overwrite_probe(&key, "x".into()).await] {
            match attempt.unwrap_or_else(|error| panic!("{status}: {error}")) {
                Attempt::Refused => assert!(is_refused, "{status}"),
                Attempt::Unclear(said) => assert!(!is_refused && !said.is_empty(), "{status}"),
                Attempt::Allowed => panic!("{status} allows it"),
            }
        }
    }
    let server = refusing(500, "InternalError").await;
    s3(&server.endpoint).delete_probe(&key).await.expect_err("no answer to the question");
}

/// A server that gives credentials as the machine's metadata do, with a time of its own.
async fn metadata(status: u16) -> Stub {
    Stub::start(Duration::ZERO, move |Request { key, .. }| async move {
        let body = match key.as_str() {
            key if key.ends_with("/role") => {
                r#"{"AccessKeyId":"ASIA","SecretAccessKey":"canary","Token":"t","Expiration":"2099-01-01T00:00:00Z"}"#
            }
            _ => "role",
        };
        let head = format!("HTTP/1.1 {status} As Told\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-length: ");
        format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes()
    })
    .await
}

#[tokio::test]
async fn only_the_store_is_a_witness_of_its_clock() {
    let (store, given) = (refusing(200, "").await, metadata(200).await);
    let builder = AmazonS3Builder::new().with_metadata_endpoint(&given.endpoint);
    let store = s3_by(&store.endpoint, builder);
    assert_eq!(store.try_read("a").await.expect("answered"), None);
    assert_eq!(given.seen().len(), 3);
    assert_eq!(store.told_time(), None, "what gave the credentials told it");
}

#[tokio::test]
async fn who_gives_no_credentials_is_asked_a_few_times_and_named_with_what_to_set() {
    let (store, given) = (refusing(200, "").await, metadata(500).await);
    let store_by = s3_by(&store.endpoint, AmazonS3Builder::new().with_metadata_endpoint(&given.endpoint));
    let error = store_by.create("a", "x".into()).await.expect_err("nobody");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains(&given.endpoint), "{error}");
    assert!(error.remedy_text().is_some_and(|remedy| remedy.contains("AWS_ACCESS_KEY_ID")), "{error:?}");
    assert!(given.seen().len() <= 4, "{} questions", given.seen().len());
    assert_eq!(store.seen().len(), 0, "unsigned requests");
}
