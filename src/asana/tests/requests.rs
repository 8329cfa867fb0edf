//! One request: what is tried again, how long that takes, and what the token may do.

use std::io::Write;

use futures_util::stream;
use http_body_util::{Limited, StreamBody};

use super::*;
use crate::error::ErrorKind;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_byte_for_byte_with_its_times() {
    let arrivals = Arrivals::new();
    let transport = slow_fake(&arrivals, |_, asked| async move {
        assert_eq!(asked.uri().path(), "/api/1.0/tasks/1");
        assert_eq!(asked.uri().query(), Some("opt_fields=name%2Cassignee"));
        assert_eq!(asked.headers()["authorization"], "Bearer 2/canary");
        tokio::time::sleep(seconds(3)).await;
        said(200, r#"{"data": {"gid":"1", "n":1.50, "s":"\u00e9"}}"#)
    });
    let client = client(transport);
    let query = [("opt_fields".to_owned(), "name,assignee".to_owned())];
    let Answer::Found(found) = client.get("getTask", "/tasks/1", &query).await.expect("an answer") else {
        panic!("refused")
    };
    assert_eq!(found.data.get(), r#"{"gid":"1", "n":1.50, "s":"\u00e9"}"#);
    assert_eq!(found.seen_at - found.began_at, chrono::Duration::seconds(3));
}

#[tokio::test(start_paused = true)]
async fn a_hold_costs_exactly_what_was_asked_for() {
    let arrivals = Arrivals::new();
    let client = client(fake(&arrivals, |n, _| if n == 0 { slow_down(30) } else { good() }));
    found(get(&client).await);
    assert_eq!(arrivals.millis(), [0, 30_000]);
    assert_eq!(client.statistics().retries, 1);
    assert_eq!(client.statistics().waited, seconds(30));
    assert_eq!(client.live().limit, 1_500);
}

#[tokio::test(start_paused = true)]
async fn a_failing_service_that_says_when_is_asked_then() {
    let arrivals = Arrivals::new();
    let busy = || with(said(503, ""), "retry-after", "20");
    let client = client(fake(&arrivals, move |n, _| if n == 0 { busy() } else { good() }));
    found(get(&client).await);
    assert_eq!(arrivals.millis(), [0, 20_000]);
}

#[tokio::test(start_paused = true)]
async fn more_patience_than_a_run_has_is_an_error() {
    let client = client(fake(&Arrivals::new(), |_, _| slow_down(86_400)));
    assert_eq!(get(&client).await.expect_err("too long").kind(), ErrorKind::Throttled);
}

#[tokio::test(start_paused = true)]
async fn a_request_refused_again_and_again_is_given_up() {
    let arrivals = Arrivals::new();
    let client = client(fake(&arrivals, |_, _| slow_down(10)));
    let refusal = refused(get(&client).await);
    assert_eq!((refusal.status, refusal.phrase.as_str()), (429, "You have made too many requests"));
    assert_eq!(arrivals.all().len(), 20);
    assert_eq!(arrivals.all()[19], seconds(190));
    assert_eq!(client.statistics().unreadable_in_a_row, 1);
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_ever_more_slowly_and_then_told() {
    for status in [500, 502, 503, 504] {
        let arrivals = Arrivals::new();
        let body = r#"{"errors":[{"message":"Server Error","phrase":"6 sad squid snuggle softly"}]}"#;
        let client = client(fake(&arrivals, move |_, _| said(status, body)));
        assert_eq!(refused(get(&client).await).status, status);
        let times = arrivals.millis();
        let waits: Vec<u128> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (wait, longest) in waits.iter().zip([500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000]) {
            assert!((longest / 2..=longest).contains(wait), "{waits:?}");
        }
        assert_eq!(times.len(), 8);
        assert_eq!(client.statistics().by_status[&status], 8);
        assert_eq!(client.statistics().unreadable_in_a_row, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_phrase_of_a_500_is_told() {
    let body = r#"{"errors":[{"message":"Server Error","phrase":"6 sad squid snuggle softly"}]}"#;
    let client = client(fake(&Arrivals::new(), move |_, _| said(500, body)));
    assert_eq!(refused(get(&client).await).phrase, "6 sad squid snuggle softly");
}

#[tokio::test(start_paused = true)]
async fn the_seed_alone_decides_the_waits() {
    let mut courses = Vec::new();
    for seed in [1, 1, 2] {
        let arrivals = Arrivals::new();
        let options = ClientOptions { seed, ..options(fake(&arrivals, |_, _| said(502, ""))) };
        refused(get(&Client::new(options).expect("good options")).await);
        courses.push(arrivals.millis());
    }
    assert_eq!(courses[0], courses[1]);
    assert_ne!(courses[0], courses[2]);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_one_object_are_answers_at_once() {
    for status in [400, 402, 403, 404, 410, 412, 413, 424, 451] {
        let arrivals = Arrivals::new();
        let body = r#"{"errors":[{"message":"no","help":"For more information, see ..."}]}"#;
        let client = client(fake(&arrivals, move |_, _| said(status, body)));
        let refusal = refused(get(&client).await);
        assert_eq!((refusal.status, refusal.phrase.as_str()), (status, "no"));
        assert_eq!(refusal.help.as_deref(), Some("For more information, see ..."));
        assert_eq!(arrivals.all().len(), 1);
        assert_eq!(client.statistics().unreadable_in_a_row, 0);
    }
}

/// What a good answer may look like when it arrives damaged.
fn damaged(n: usize) -> Said {
    match n {
        0 => with(good(), "content-length", "21"),
        1 => good().map(|body| Limited::new(body, 5).boxed_unsync()),
        2 => said(200, r#"{"data":{"gid":"1""#),
        3 => said(200, r#"{"errors":[]}"#),
        4 => said(200, r#"{"data":null}"#),
        5 => said(200, "<html>"),
        6 => good().map(|_| AnswerBody::new(StreamBody::new(stream::pending()))),
        _ => good(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_answer_is_asked_for_again() {
    let arrivals = Arrivals::new();
    let client = client(fake(&arrivals, |n, _| damaged(n)));
    assert_eq!(found(get(&client).await), r#"{"gid":"1"}"#);
    assert_eq!(arrivals.all().len(), 8);
    assert_eq!(client.statistics().by_status, [(0, 3), (200, 5)].into());
}

#[tokio::test(start_paused = true)]
async fn what_was_wrong_with_the_last_answer_is_told() {
    for (n, expected) in [
        (0, "the answer was cut: 20 of 21 bytes"),
        (1, "the connection failed: length limit exceeded"),
        (2, "the answer is not the JSON of an answer"),
        (4, "the answer's data is neither an object nor a list"),
        (6, "no whole answer within 60 s"),
    ] {
        let client = client(fake(&Arrivals::new(), move |_, _| damaged(n)));
        let refusal = refused(get(&client).await);
        assert_eq!((refusal.status, refusal.phrase.as_str()), (0, expected));
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_after_eight_minutes_and_the_waits() {
    let arrivals = Arrivals::new();
    let client = client(slow_fake(&arrivals, |_, _| std::future::pending()));
    let began = Instant::now();
    assert_eq!(refused(get(&client).await).status, 0);
    assert!((seconds(480 + 31)..seconds(480 + 64)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_not_read_to_it() {
    let arrivals = Arrivals::new();
    let mut options =
        options(fake(&arrivals, |_, _| said(200, format!(r#"{{"data":"{}"}}"#, "x".repeat(100)))));
    options.retry.answer_bytes = 100;
    let refusal = refused(get(&Client::new(options).expect("good options")).await);
    assert_eq!((refusal.status, refusal.phrase.as_str()), (0, "the answer is larger than 100 bytes"));
    assert_eq!(arrivals.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_answer_ends_the_count_of_unreadable_objects() {
    let client = client(fake(&Arrivals::new(), |n, _| if n < 16 { said(500, "") } else { said(404, "") }));
    for expected in [1, 2, 0] {
        refused(get(&client).await);
        assert_eq!(client.statistics().unreadable_in_a_row, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_refused_and_its_address_not_told() {
    for status in [301, 302, 303, 307, 308] {
        let arrivals = Arrivals::new();
        let away = move || with(said(status, ""), "location", "https://elsewhere.example/a?signature=canary");
        let client = client(fake(&arrivals, move |_, _| away()));
        let refusal = refused(get(&client).await);
        assert_eq!(refusal.status, status);
        assert_eq!(refusal.phrase, "redirects to https://elsewhere.example, where the token must not go");
        assert_eq!(refusal.redirected().map(|error| error.kind()), Some(ErrorKind::Config));
        assert_eq!(client.statistics().unreadable_in_a_row, 1);
        assert_eq!(arrivals.all().len(), 1);
    }
}

#[test]
fn the_token_travels_encrypted_or_not_at_all() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _inside = runtime.enter();
    let with_base = |base: &str| {
        let options = options(fake(&Arrivals::new(), |_, _| good()));
        Client::new(ClientOptions { base_url: Url::parse(base).expect("a URL"), ..options })
    };
    for base in
        ["https://app.asana.com/api/1.0", "http://localhost:1", "http://127.0.0.9", "http://[::1]:80/x"]
    {
        assert!(with_base(base).is_ok(), "{base}");
    }
    for base in
        ["http://app.asana.com", "http://localhost.example", "http://10.0.0.1", "ftp://localhost", "data:x"]
    {
        assert_eq!(with_base(base).expect_err(base).kind(), ErrorKind::Config);
    }
}

fn only_new(asked: &Asked) -> Said {
    match asked.headers()["authorization"].to_str() {
        Ok("Bearer new") => good(),
        _ => said(401, r#"{"errors":[{"message":"Not Authorized"}]}"#),
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_read_again_once() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(file, "old").expect("written");
    let token = Token::from_file(file.path()).expect("a good token");
    let arrivals = Arrivals::new();
    let options = ClientOptions { token, ..options(fake(&arrivals, |_, asked| only_new(&asked))) };
    let client = Client::new(options).expect("good options");

    let error = get(&client).await.expect_err("an old token");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(
        error.to_string(),
        "ask Asana for /tasks/1 (getTask): Asana refuses the token: Not Authorized"
    );
    assert_eq!(arrivals.all().len(), 2);

    std::fs::write(file.path(), "new\n").expect("written");
    found(get(&client).await);
    found(get(&client).await);
    assert_eq!(arrivals.all().len(), 5);

    std::fs::write(file.path(), "\n").expect("written");
    found(get(&client).await);
}

#[tokio::test(start_paused = true)]
async fn a_clock_far_off_is_noticed() {
    // The client's clock begins at 1,780,000,000, which is 20:26:40 on that day.
    let client = client(fake(&Arrivals::new(), |_, _| with(good(), "date", "Thu, 28 May 2026 20:16:40 GMT")));
    assert_eq!(client.statistics().clock_offset, None);
    found(get(&client).await);
    let offset = client.statistics().clock_offset.expect("a time was told");
    assert_eq!(
        (offset.within_seconds(), offset.judge().expect_err("far off").kind()),
        (600, ErrorKind::Config)
    );
}

#[tokio::test(start_paused = true)]
async fn every_request_is_counted() {
    let client = client(fake(&Arrivals::new(), |n, _| if n == 0 { said(500, "") } else { good() }));
    found(get(&client).await);
    client.get("getUser", "/users/me", &[]).await.expect("an answer");
    let statistics = client.statistics();
    assert_eq!(statistics.by_operation, [("getTask", 2), ("getUser", 1)].into());
    assert_eq!(statistics.by_status, [(200, 2), (500, 1)].into());
    let both = [(("getTask", 200), 1), (("getTask", 500), 1), (("getUser", 200), 1)];
    assert_eq!(statistics.by_operation_and_status, both.into());
    assert_eq!((statistics.requests(), statistics.retries, statistics.bytes), (3, 1, 40));
    let live = client.live();
    assert_eq!((live.requests, live.in_flight, live.last_minute), (3, 0, 3));
    assert!(!format!("{client:?} {live:?}").contains("canary"));
}
