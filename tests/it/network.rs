//! The real network, and servers on it that mean harm: the token goes to one host, and an answer costs what it may.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asana_backup::asana::{
    Answer, Client, ClientOptions, NetworkOptions, Pacer, Refusal, RetryOptions, Token,
    transport_over_network,
};
use asana_backup::clock::Clock;
use asana_backup::error::ErrorKind;

use crate::program::{Served, ends};
use crate::world::unlimited;

const TOKEN: &str = "canary-token-that-nobody-may-see";

/// A server that keeps what it was sent, up to the first empty line.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
                noted.lock().expect("no panic").push(head);
                answer(&mut stream);
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }
}

fn says(stream: &mut TcpStream, text: &str) {
    // A client that has had enough hangs up.
    stream.write_all(text.as_bytes()).ok();
}

fn client(address: &str) -> Client {
    Client::new(ClientOptions {
        base_url: format!("http://{address}/api/1.0").parse().expect("an address"),
        token: Token::fixed(&TOKEN.to_owned().into()).expect("a token"),
        transport: transport_over_network(&NetworkOptions::default()).expect("a transport"),
        pacer: Pacer::new(unlimited()),
        clock: Clock::wall(),
        retry: RetryOptions {
            tries: NonZeroU32::MIN,
            answer_bytes: 1 << 20,
            deadline: Duration::from_secs(20),
            ..RetryOptions::default()
        },
        seed: 1,
    })
    .expect("a client")
}

async fn refusal(address: &str) -> Refusal {
    match client(address).get("getTask", "/tasks/1", &[]).await.expect("an answer") {
        Answer::Refused(refusal) => refusal,
        Answer::Found(found) => panic!("found {}", found.data),
    }
}

#[tokio::test]
async fn no_redirect_carries_the_token_anywhere() {
    let other = Server::start(|stream| says(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let port = other.address.rsplit(':').next().expect("a port").to_owned();
    for status in [301, 302, 303, 307, 308] {
        for to in [
            format!("http://{}/api/1.0/tasks/1", other.address),
            format!("//{}/api/1.0/tasks/1", other.address),
            format!("http://localhost:{port}/"),
            format!("https://{}/", other.address),
            "/api/1.0/tasks/2".to_owned(),
        ] {
            let answer = format!("HTTP/1.1 {status} Gone\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            let asana = Server::start(move |stream| says(stream, &answer));
            let answer = client(&asana.address).get("getTask", "/tasks/1", &[]).await.expect("an answer");
            let Answer::Refused(refusal) = answer else { panic!("{answer:?}") };
            let error = refusal.redirected().expect("an error");
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            let seen = asana.seen();
            assert_eq!(seen.len(), 1, "{to}: {seen:?}");
            assert!(seen[0].starts_with("GET ") && seen[0].contains(TOKEN), "{seen:?}");
        }
    }
    assert_eq!(other.seen(), Vec::<String>::new(), "a redirect was followed");
}

/// Zeros without end, packed: one literal, and then each thirteen bits stand for 258 more.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let (mut bits, mut count) = (0_u64, 0);
    let mut push = |value: u64, width: u32, reversed: bool| {
        for at in 0..width {
            let bit = if reversed { value >> (width - 1 - at) } else { value >> at };
            bits |= (bit & 1) << count;
            count += 1;
            if count == 8 {
                packed.push(bits as u8);
                (bits, count) = (0, 0);
            }
        }
    };
    push(0b011, 3, false); // the last block, with the fixed code
    push(0b0011_0000, 8, true);
    for _ in 0..bytes / 258 {
        push(0b1100_0101, 8, true);
        push(0, 5, true);
    }
    packed
}

#[tokio::test]
async fn an_answer_that_unpacks_without_end_is_not_unpacked_to_it() {
    let packed = bomb(1 << 30);
    let sent = packed.len();
    assert!(sent < 8 << 20);
    let asana = Server::start(move |stream| {
        says(stream, &format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {sent}\r\n\r\n"));
        stream.write_all(&packed).ok();
    });
    let refusal = refusal(&asana.address).await;
    assert_eq!((refusal.status, &*refusal.phrase), (0, "the answer is larger than 1048576 bytes"));
}

#[tokio::test]
async fn headers_without_end_are_not_read_to_it() {
    for line in ["X-Canary: 1\r\n", "x"] {
        let written = Arc::new(Mutex::new(0_usize));
        let total = Arc::clone(&written);
        let asana = Server::start(move |stream| {
            says(stream, "HTTP/1.1 200 OK\r\n");
            let block = line.repeat(1_000);
            while *total.lock().expect("no panic") < 1 << 30 && stream.write_all(block.as_bytes()).is_ok() {
                *total.lock().expect("no panic") += block.len();
            }
        });
        let refusal = refusal(&asana.address).await;
        assert_eq!(refusal.status, 0, "{refusal:?}");
        // Most of it lies in the sockets' own buffers.
        let written = *written.lock().expect("no panic");
        assert!(written < 32 << 20, "{written} bytes of headers were taken");
    }
}

#[tokio::test]
async fn a_header_that_is_no_header_and_a_status_that_is_none_are_no_answers() {
    for answer in
        ["HTTP/1.1 200 OK\r\n\0: x\r\n\r\n{}", "HTTP/1.1 99999 No\r\n\r\n", "SSH-2.0-OpenSSH\r\n", "\r\n\r\n"]
    {
        let asana = Server::start(move |stream| says(stream, answer));
        assert_eq!(refusal(&asana.address).await.status, 0, "{answer:?}");
    }
}

#[tokio::test]
async fn depth_without_end_neither_crashes_nor_passes() {
    let deep = |depth: usize| format!("{{\"data\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let body = deep(500_000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let asana = Server::start(move |stream| says(stream, &format!("{head}{body}")));
    match client(&asana.address).get("getTask", "/tasks/1", &[]).await.expect("an answer") {
        Answer::Refused(refusal) => assert_eq!(refusal.status, 0),
        // Kept as text: whoever reads it as a record finds a list.
        Answer::Found(found) => assert_eq!(found.records().len(), 1),
    }
}

#[test]
fn what_stays_on_this_machine_passes_no_proxy() {
    let proxy = Server::start(|stream| says(stream, "HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"));
    let served = Served::start(&[]);
    let mut run = served.command(&["run"]);
    for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        run.env(name, format!("http://{}", proxy.address));
    }
    ends(&run.env_remove("NO_PROXY").env_remove("no_proxy").output().expect("it runs"), 0);
    assert_eq!(proxy.seen(), Vec::<String>::new());
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_and_sees_no_token() {
    let begun = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&begun);
    let proxy = Server::start(move |stream| {
        says(stream, "HTTP/1.1 200 OK\r\n\r\n");
        let mut first = [0; 512];
        let read = stream.read(&mut first).unwrap_or_default();
        noted.lock().expect("no panic").push(first[..read].to_vec());
    });
    let served = Served::start(&[]);
    let mut check = served.command(&["check"]);
    check
        .env("ASANA_BASE_URL", "https://asana.example/api/1.0")
        .env("HTTPS_PROXY", format!("http://{}", proxy.address))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = check.spawn().expect("it runs");
    // It would go on for a minute: the first tunnel tells it all.
    while begun.lock().expect("no panic").is_empty() {
        assert!(child.try_wait().expect("a child").is_none(), "it ended without a tunnel");
        std::thread::yield_now();
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let head = proxy.seen()[0].clone();
    assert!(head.starts_with("CONNECT asana.example:443 "), "{head}");
    assert!(!head.contains(TOKEN) && !head.to_lowercase().contains("\nauthorization"), "{head}");
    assert_eq!(begun.lock().expect("no panic")[0].first(), Some(&0x16), "TLS begins with a handshake");
}

#[test]
fn an_authority_of_ones_own_is_a_file_of_certificates() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    let options = NetworkOptions { ca_file: Some(file.clone()), ..NetworkOptions::default() };
    for text in [None, Some(""), Some("canary"), Some("-----BEGIN CERTIFICATE-----\n!\n")] {
        if let Some(text) = text {
            std::fs::write(&file, text).expect("written");
        }
        let error = transport_over_network(&options).expect_err("no certificate");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("ca.pem") && error.remedy_text().is_some(), "{error}");
        assert!(!error.to_string().contains("canary"));
    }
}
