//! The sweep finds every task, whatever the search does where Asana says nothing: how many it answers at once, and
//! whether `after` includes its own instant.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use asana_backup::asana::{
    Client, ClientOptions, PaceOptions, Pacer, RetryOptions, Token, transport_in_process,
};
use asana_backup::clock::Clock;
use asana_backup::crawl::{Findings, Scope, Told, Walk};
use asana_backup::telemetry::Progress;
use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};

/// A search over tasks that no listing leads to.
#[derive(Clone)]
struct Search {
    /// When each was created and modified, in milliseconds; its place is its gid.
    tasks: Arc<Vec<(i64, i64)>>,
    at_once: usize,
    includes: bool,
    /// The one of its answers that is short of its last tasks.
    short: usize,
    /// Whether it sorts the other way round.
    descends: bool,
    asked: Arc<AtomicUsize>,
}

impl Default for Search {
    fn default() -> Self {
        let (tasks, asked) = Default::default();
        Self { tasks, at_once: 100, includes: false, short: usize::MAX, descends: false, asked }
    }
}

fn moment(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_780_000_000_000 + milliseconds).expect("a moment")
}

impl Search {
    fn answer(&self, request: &Request<Full<Bytes>>) -> Value {
        let url = url::Url::parse(&format!("http://h{}", request.uri().path_and_query().expect("a path")));
        let url = url.expect("a URL");
        let path: Vec<&str> = url.path().split('/').skip(3).collect();
        match path.as_slice() {
            ["workspaces", _, "tasks", "search"] => json!({"data": self.found(&url)}),
            ["tasks", gid] => json!({"data": {"gid": gid, "resource_type": "task", "num_subtasks": 0}}),
            _ => json!({"data": [], "next_page": null}),
        }
    }

    fn found(&self, url: &url::Url) -> Vec<Value> {
        let wanted = |name: &str| {
            let value = url.query_pairs().find(|(known, _)| known == name)?.1.into_owned();
            Some(DateTime::parse_from_rfc3339(&value).expect("a moment").to_utc())
        };
        let by_creation = url.query_pairs().any(|pair| pair == ("sort_by".into(), "created_at".into()));
        let within = |at: DateTime<Utc>, name: &str| {
            let after = wanted(&format!("{name}.after"));
            let before = wanted(&format!("{name}.before"));
            after.is_none_or(|after| at > after || (self.includes && at == after))
                && before.is_none_or(|before| at < before || (self.includes && at == before))
        };
        let mut found: Vec<_> = (0_usize..)
            .zip(self.tasks.iter())
            .map(|(gid, (created, modified))| (gid, moment(*created), moment(*modified)))
            .filter(|(_, created, modified)| {
                within(*created, "created_at") && within(*modified, "modified_at")
            })
            .collect();
        found.sort_by_key(|(_, created, modified)| if by_creation { *created } else { *modified });
        if self.descends {
            found.reverse();
        }
        let is_short = self.asked.fetch_add(1, Ordering::Relaxed) == self.short;
        found
            .iter()
            .take(if is_short { self.at_once / 2 } else { self.at_once })
            .map(|(gid, created, modified)| {
                json!({"gid": gid.to_string(), "created_at": created, "modified_at": modified})
            })
            .collect()
    }

    async fn swept(self) -> (BTreeSet<usize>, Findings) {
        let most = NonZeroU32::MAX;
        let clock = Clock::simulated(moment(1_000_000_000));
        let service = tower::service_fn(move |request| {
            let body = Full::new(Bytes::from(self.answer(&request).to_string()));
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        let client = Client::new(ClientOptions {
            base_url: "http://127.0.0.1/api/1.0".parse().expect("an address"),
            token: Token::fixed(&"t".to_owned().into()).expect("a token"),
            transport: transport_in_process(service),
            pacer: Pacer::new(PaceOptions {
                per_minute: most,
                searches_per_minute: most,
                ..Default::default()
            }),
            clock: clock.clone(),
            retry: RetryOptions::default(),
            seed: 1,
        })
        .expect("a client");
        let (told, mut events) = tokio::sync::mpsc::channel(100_000);
        let scope = Scope::new(&["tasks".to_owned()]);
        let walk = Walk::new(client, clock.clone(), "1", scope, 8, Arc::new(Progress::default()));
        walk.sweep(&told).await.expect("a sweep");
        drop(told);
        let mut found = BTreeSet::new();
        while let Some(event) = events.recv().await {
            if let Told::Hits { hits, .. } = event {
                found.extend(hits.iter().map(|hit| hit.gid.parse::<usize>().expect("a number")));
            }
        }
        (found, walk.findings())
    }
}

#[tokio::test(start_paused = true)]
async fn every_task_is_found_however_many_share_an_instant() {
    let one_instant = |count: i64| (0..count).map(|nth| (5, 1_000 + nth)).collect::<Vec<_>>();
    let apart = |count: i64| (0..count).map(|nth| (nth * 7, nth)).collect::<Vec<_>>();
    let next_to_each_other = (0..250).map(|nth| (nth / 60, 9_000 + nth)).collect::<Vec<_>>();
    let mixed = [apart(130), one_instant(230), apart(3)].concat();
    for tasks in [
        vec![],
        apart(1),
        apart(100),
        apart(101),
        one_instant(100),
        one_instant(250),
        next_to_each_other,
        mixed,
    ] {
        for at_once in [20, 100] {
            for includes in [false, true] {
                let wanted: BTreeSet<_> = (0..tasks.len()).collect();
                let search =
                    Search { tasks: Arc::new(tasks.clone()), at_once, includes, ..Search::default() };
                let (found, findings) = search.swept().await;
                assert_eq!(found, wanted, "{} tasks, {at_once} at once, {includes}", tasks.len());
                assert!(findings.lacks.is_empty(), "{:?}", findings.lacks);
                assert_eq!(findings.swept_until, Some(moment(1_000_000_000) - Duration::minutes(2)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_window_can_tell_apart_is_said_not_to_be_proven() {
    let tasks = Arc::new(vec![(5, 5); 130]);
    let (found, findings) = Search { tasks, ..Search::default() }.swept().await;
    assert_eq!(found.len(), 100);
    assert!(
        findings.lacks["tasks"].iter().any(|why| why.contains("100 tasks or more")),
        "{:?}",
        findings.lacks
    );
}

#[tokio::test(start_paused = true)]
async fn a_short_answer_does_not_end_the_search() {
    let tasks = Arc::new((0..400).map(|nth| (nth * 7, nth)).collect::<Vec<_>>());
    for short in 0..6 {
        let search = Search { tasks: Arc::clone(&tasks), short, ..Search::default() };
        let (found, findings) = search.swept().await;
        assert_eq!(found.len(), tasks.len(), "answer {short} was short");
        assert!(findings.lacks.is_empty() && findings.swept_until.is_some(), "{findings:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_that_does_not_sort_as_it_is_asked_to_proves_nothing() {
    let tasks = Arc::new((0..400).map(|nth| (nth * 7, nth)).collect::<Vec<_>>());
    let (_, findings) = Search { tasks, descends: true, ..Search::default() }.swept().await;
    assert_eq!(findings.swept_until, None);
    assert!(findings.lacks["tasks"].iter().any(|why| why.contains("not in the order")), "{findings:?}");
}
