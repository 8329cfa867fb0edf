//! The status server over real connections, and what hostile ones get of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use asana_backup::config::{Listen, StatusSettings};
use asana_backup::error::ErrorKind;
use asana_backup::telemetry::{Health, Metrics, StatusServer, Told, table};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const CANARY: &str = "canary";

struct Served {
    address: SocketAddr,
    health: Arc<Health>,
    stop: CancellationToken,
    server: JoinSet<()>,
}

async fn serve(token_file: Option<&Path>) -> Served {
    let metrics = Metrics::default();
    metrics.tell(&table::SNAPSHOT, &["acme"], 7.0);
    let health = Arc::new(Health::new(Duration::from_secs(60)));
    let describe = Arc::new(|| json!({ "organizations": { "acme": { "snapshot": 7 } } }));
    let told = Told { metrics, health: Arc::clone(&health), describe };
    let listen = Listen::At("127.0.0.1:0".parse().expect("an address"));
    let settings = StatusSettings { listen, token_file: token_file.map(Into::into) };
    let server = StatusServer::bind(&settings, told).await.expect("it listens").expect("it is on");
    let (address, stop) = (server.address().expect("an address"), CancellationToken::new());
    let mut running = JoinSet::new();
    running.spawn(server.serve(stop.clone()));
    Served { address, health, stop, server: running }
}

impl Served {
    async fn say(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("it takes connections");
        // It may hang up before it has read all of it.
        stream.write_all(request).await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str, more: &str) -> String {
        self.say(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").as_bytes()).await
    }
}

#[tokio::test]
async fn the_status_server_tells_how_the_daemon_is() {
    let mut served = serve(None).await;
    let metrics = served.get("/metrics", "").await;
    assert!(
        metrics.starts_with("HTTP/1.1 200") && metrics.contains("text/plain; version=0.0.4"),
        "{metrics}"
    );
    assert!(metrics.contains("asana_backup_snapshot_number{organization=\"acme\"} 7"), "{metrics}");
    let described = served.get("/statusz", "").await;
    assert!(described.starts_with("HTTP/1.1 200") && described.contains("\"snapshot\": 7"), "{described}");
    assert!(served.get("/livez", "").await.starts_with("HTTP/1.1 200"));
    assert!(served.get("/readyz", "").await.starts_with("HTTP/1.1 503"));
    served.health.tried("acme", true);
    assert!(served.get("/readyz", "").await.starts_with("HTTP/1.1 200"));
    assert!(served.get("/", "").await.starts_with("HTTP/1.1 404"));
    served.stop.cancel();
    served.server.join_next().await.expect("a server").expect("it ends by itself");
}

#[tokio::test]
async fn who_bears_no_token_learns_one_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{CANARY}\n")).expect("a file");
    let served = serve(Some(&file)).await;
    for path in ["/metrics", "/statusz"] {
        for header in ["", "Authorization: Bearer canar\r\n", "Authorization: Basic canary\r\n"] {
            let refused = served.get(path, header).await;
            assert!(refused.starts_with("HTTP/1.1 401") && !refused.contains("acme"), "{refused}");
            assert!(!refused.contains(CANARY), "{refused}");
        }
        let told = served.get(path, "Authorization: Bearer canary\r\n").await;
        assert!(told.starts_with("HTTP/1.1 200") && told.contains("acme"), "{told}");
    }
    assert!(served.get("/livez", "").await.starts_with("HTTP/1.1 200"));
    // Another token counts from now on; an empty one lets nobody in.
    std::fs::write(&file, "another").expect("a file");
    assert!(served.get("/metrics", "Authorization: Bearer canary\r\n").await.starts_with("HTTP/1.1 401"));
    assert!(served.get("/metrics", "Authorization: Bearer another\r\n").await.starts_with("HTTP/1.1 200"));
    std::fs::write(&file, "\n").expect("a file");
    assert!(served.get("/metrics", "Authorization: Bearer \r\n").await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn hostile_input_is_refused_and_the_server_goes_on() {
    let served = serve(None).await;
    let long = "x".repeat(1 << 20);
    let many: String = (0..1000).map(|number| format!("X-{number}: 1\r\n")).collect();
    let hostile: Vec<Vec<u8>> = vec![
        format!("GET /{long} HTTP/1.1\r\n\r\n").into_bytes(),
        format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n").into_bytes(),
        format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{many}\r\n").into_bytes(),
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
        b"DELETE /statusz HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
        (0..=255).cycle().take(100_000).collect(),
    ];
    for request in hostile {
        let answer = served.say(&request).await;
        assert!(!answer.starts_with("HTTP/1.1 200") && !answer.contains("acme"), "{answer}");
    }
    assert!(served.get("/livez", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn who_is_slow_or_comes_in_crowds_keeps_nobody_else_out_for_long() {
    let served = serve(None).await;
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(TcpStream::connect(served.address).await.expect("the system takes them"));
    }
    // Real time: what is waited for is the deadline of a head that never comes, and the answer after it.
    let answered = tokio::time::timeout(Duration::from_secs(30), served.get("/livez", "")).await;
    assert!(answered.expect("it is served").starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_address_that_somebody_else_has_is_worth_another_try() {
    let served = serve(None).await;
    let told = Told {
        metrics: Metrics::default(),
        health: Arc::clone(&served.health),
        describe: Arc::new(|| json!({})),
    };
    let settings = StatusSettings { listen: Listen::At(served.address), token_file: None };
    let taken = StatusServer::bind(&settings, told).await.err().expect("it is taken");
    assert_eq!(taken.kind(), ErrorKind::Unavailable);
    assert!(taken.remedy_text().is_some_and(|remedy| remedy.contains("status.listen")), "{taken}");
}

#[tokio::test]
async fn a_server_that_others_can_reach_needs_a_token_that_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty");
    std::fs::write(&empty, " \n").expect("a file");
    let missing = folder.path().join("missing");
    for token_file in [None, Some(empty), Some(missing)] {
        let listen = Listen::At("0.0.0.0:0".parse().expect("an address"));
        let told = Told {
            metrics: Metrics::default(),
            health: Arc::new(Health::new(Duration::from_secs(60))),
            describe: Arc::new(|| json!({})),
        };
        let settings = StatusSettings { listen, token_file };
        let refused = StatusServer::bind(&settings, told).await.err().expect("it is refused");
        assert_eq!(refused.kind(), ErrorKind::Config);
    }
}
