//! The truth table of writes: whatever a store answers, the verdict is what is there.
//!
//! The real S3 client talks to a server that speaks just enough S3 and misbehaves as told, because the client's own
//! repetitions are part of what misleads: after an answer that got lost it is told that its own object is there already.
//! Rule of the table: success only where our bytes are; a Conflict (of a part: Corrupt) only where others' are; and
//! where nothing is, Config if the server says that we may not write, and Unavailable if not. Sockets in a test of this room are an exception, made for that client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::error::{ErrorKind, Result};
use crate::model::{Content, EncodedPart, Hash, SnapshotNumber};
use crate::repository::fixtures::{claim, moment, part, run, s3, snapshot};
use crate::repository::identity::json;
use crate::repository::keys::Key;
use crate::repository::stub::{Request, read, response};
use crate::repository::{Repository, Store};

/// What a put does to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It is written, unless something is there.
    Written,
    /// Nothing happens.
    Nothing,
    /// Somebody else's bytes are written right before it arrives.
    Foreign,
}

/// What its answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 200, or 412 where something is there.
    True,
    Status(u16),
    /// 200, and in its body that it failed.
    ErrorInBody,
    /// The connection is reset.
    Reset,
    /// The connection ends as if all were said.
    End,
    /// None.
    Silence,
}

/// How a server treats the first `times` puts; after them it is honest, or takes the credentials no more.
#[derive(Clone, Copy, Debug)]
struct Trick {
    effect: Effect,
    answer: Answer,
    times: usize,
    denies: bool,
}

const ALWAYS: usize = usize::MAX;

impl Trick {
    /// Whether it says that we may not write, which trying again does not mend.
    fn is_refused(self) -> bool {
        self.denies || self.answer == Answer::Status(403)
    }
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    trick: Option<Trick>,
    /// What somebody else writes.
    foreign: Bytes,
    /// Whether it answers 503 to whoever reads.
    unreadable: bool,
    puts: usize,
}

/// A server that speaks S3, for as long as it is held.
struct Server {
    state: Arc<Mutex<State>>,
    endpoint: String,
    _serving: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let (state, mut serving) = (Arc::<Mutex<State>>::default(), JoinSet::new());
        let shared = Arc::clone(&state);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(Arc::clone(&shared), stream));
            }
        });
        Self { state, endpoint, _serving: serving }
    }
}

async fn serve(state: Arc<Mutex<State>>, mut stream: TcpStream) {
    while let Some(request) = read(&mut stream).await {
        let (answer, text) = state.lock().expect("not poisoned").answer(&request);
        match answer {
            Answer::Silence => std::future::pending().await,
            Answer::End => return,
            Answer::Reset => {
                stream.set_zero_linger().expect("an open socket");
                return;
            }
            _ if stream.write_all(&text).await.is_err() => return,
            _ => {}
        }
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> (Answer, Vec<u8>) {
        let honest = |status, body: &[u8]| (Answer::True, response(status, body, request.method == "HEAD"));
        match request.method.as_str() {
            "PUT" => self.put(request),
            "GET" | "HEAD" if self.unreadable => honest(503, b""),
            "GET" if request.query.contains("list-type=2") => {
                honest(200, self.list(&request.query).as_bytes())
            }
            "GET" | "HEAD" => match self.objects.get(&request.key) {
                Some(bytes) => honest(200, bytes),
                None => honest(404, b"<Error><Code>NoSuchKey</Code></Error>"),
            },
            other => panic!("{other} is not spoken here"),
        }
    }

    fn put(&mut self, request: &Request) -> (Answer, Vec<u8>) {
        // What makes a write safe is asked for each time, in repetitions too.
        for header in ["if-none-match: *", "x-amz-checksum-sha256: "] {
            assert!(request.head.contains(header), "{header}: {}", request.head);
        }
        let is_played = self.trick.is_some_and(|trick| self.puts < trick.times);
        self.puts += 1;
        let (effect, answer) = match self.trick {
            Some(trick) if is_played => (trick.effect, trick.answer),
            Some(trick) if trick.denies => (Effect::Nothing, Answer::Status(403)),
            _ => (Effect::Written, Answer::True),
        };
        let there = self.objects.contains_key(&request.key);
        match effect {
            Effect::Nothing => {}
            _ if there => {}
            Effect::Written => drop(self.objects.insert(request.key.clone(), request.body.clone())),
            Effect::Foreign => drop(self.objects.insert(request.key.clone(), self.foreign.clone())),
        }
        let refused = there || effect == Effect::Foreign;
        match answer {
            Answer::True if refused => {
                (answer, response(412, b"<Error><Code>PreconditionFailed</Code></Error>", false))
            }
            Answer::True => (answer, response(200, b"", false)),
            Answer::Status(status) => {
                (answer, response(status, b"<Error><Code>ToldSo</Code></Error>", false))
            }
            Answer::ErrorInBody => {
                (answer, response(200, b"<Error><Code>InternalError</Code></Error>", false))
            }
            Answer::Reset | Answer::End | Answer::Silence => (answer, Vec::new()),
        }
    }

    fn list(&self, query: &str) -> String {
        let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
        let prefix = prefix.replace("%2F", "/");
        let mut found = String::new();
        for (key, bytes) in self.objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            found += &format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>\"1\"</ETag><Size>{}</Size></Contents>",
                bytes.len()
            );
        }
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>")
    }
}

/// What is written: everything whose outcome decides something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Snapshot,
    Claim,
    RunFile,
    Part,
}

impl Written {
    const ALL: [Self; 4] = [Self::Snapshot, Self::Claim, Self::RunFile, Self::Part];

    fn key(self) -> Key {
        match self {
            Self::Snapshot => Key::Snapshot(SnapshotNumber(1)),
            Self::Claim => Key::Claim { base: SnapshotNumber(0), attempt: 1 },
            Self::RunFile => Key::RunFile { run: run(1), name: "1.checkpoint.json".to_owned() },
            Self::Part => Key::Part { table: "tags".to_owned(), run: run(1), sha256: ours_part().sha256 },
        }
    }

    /// The bytes that writer `n` would write.
    fn bytes(self, n: u128) -> Bytes {
        match self {
            Self::Snapshot => json(&snapshot(1, None, run(n))).expect("JSON"),
            Self::Claim => json(&claim(0, 1, run(n), run(n))).expect("JSON"),
            Self::RunFile => format!("what {n} keeps").into(),
            // Another part never has this name: it would be the same. Only damage is left.
            Self::Part if n == 1 => ours_part().bytes,
            Self::Part => Bytes::from_static(b"torn"),
        }
    }

    async fn write(self, repository: &Repository) -> Result<()> {
        match self {
            Self::Snapshot => repository.commit(&snapshot(1, None, run(1))).await.map(drop),
            Self::Claim => repository.claim(&claim(0, 1, run(1), run(1))).await,
            Self::RunFile => repository.put_run_file(&run(1), "1.checkpoint.json", self.bytes(1)).await,
            Self::Part => repository.put_part("tags", &run(1), &ours_part()).await.map(drop),
        }
    }

    fn refusal(self) -> ErrorKind {
        if self == Self::Part { ErrorKind::Corrupt } else { ErrorKind::Conflict }
    }
}

fn ours_part() -> EncodedPart {
    let part = part(3, "a", "b", 1);
    assert_eq!((part.content, part.sha256), (Content::Records, Hash::of(&part.bytes)));
    part
}

/// A repository, and the server it is on.
struct World {
    server: Server,
    repository: Repository,
}

impl World {
    async fn new() -> Self {
        let server = Server::start().await;
        let store: Store = s3(&server.endpoint);
        let repository = Repository::open_or_create(store, "12", moment(0)).await.expect("a new repository");
        Self { server, repository }
    }

    /// The verdict on a write, what is there then, and what a person is told. `there` is what was there before.
    async fn settle(
        &self,
        written: Written,
        there: Option<u128>,
        trick: Trick,
        unreadable: bool,
    ) -> (Option<ErrorKind>, Option<Bytes>, String) {
        let key = format!("repository/{}", written.key());
        {
            let mut state = self.server.state.lock().expect("not poisoned");
            state.objects.retain(|key, _| key.ends_with("/repository.json"));
            state.objects.extend(there.map(|writer| (key.clone(), written.bytes(writer))));
            state.foreign = written.bytes(2);
            (state.trick, state.puts, state.unreadable) = (Some(trick), 0, unreadable);
        }
        let outcome = written.write(&self.repository).await;
        let told = outcome.as_ref().err().map_or_else(|| "written".to_owned(), ToString::to_string);
        let there = self.server.state.lock().expect("not poisoned").objects.get(&key).cloned();
        (outcome.err().map(|error| error.kind()), there, told)
    }
}

/// Every answer, with every effect it may hide, once and for ever, over nothing, our own and others' bytes.
fn table() -> Vec<(Option<u128>, Trick)> {
    use Answer::{End, ErrorInBody, Reset, Silence, Status, True};
    let answers = [
        True,
        Status(500),
        Status(503),
        Reset,
        End,
        Silence,
        Status(409),
        Status(412),
        Status(200),
        Status(403),
        ErrorInBody,
    ];
    let mut rows = Vec::new();
    for answer in answers {
        for effect in [Effect::Written, Effect::Nothing, Effect::Foreign] {
            for times in [1, 2, ALWAYS] {
                rows.push((None, Trick { effect, answer, times, denies: false }));
            }
        }
        for there in [1, 2] {
            for times in [1, ALWAYS] {
                rows.push((Some(there), Trick { effect: Effect::Written, answer, times, denies: false }));
            }
        }
    }
    for answer in [Status(500), Status(503), Reset, End] {
        for effect in [Effect::Written, Effect::Nothing, Effect::Foreign] {
            for times in [1, 2] {
                rows.push((None, Trick { effect, answer, times, denies: true }));
            }
        }
    }
    rows
}

/// How many servers the table is divided among: making a client for each case would take longer than the cases.
const WORLDS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verdict_on_a_write_is_what_is_there_whatever_the_answer() {
    let cases: Vec<_> = Written::ALL
        .into_iter()
        .flat_map(|written| table().into_iter().map(move |row| (written, row)))
        .collect();
    assert_eq!(cases.len(), 4 * (11 * 13 + 24));
    // One after the other: making a client keeps the answers of others waiting.
    let mut worlds = Vec::new();
    for _ in 0..WORLDS {
        worlds.push(World::new().await);
    }
    let mut judged = JoinSet::new();
    for (share, world) in worlds.into_iter().enumerate() {
        let mine: Vec<_> = cases.iter().copied().skip(share).step_by(WORLDS).collect();
        judged.spawn(async move {
            for (written, (there, trick)) in mine {
                let (verdict, found, told) = world.settle(written, there, trick, false).await;
                let case = format!("{written:?} over {there:?}, {trick:?}: {told}");
                match &found {
                    Some(bytes) if *bytes == written.bytes(1) => assert_eq!(verdict, None, "{case}"),
                    Some(_) => assert_eq!(verdict, Some(written.refusal()), "{case}"),
                    None if trick.is_refused() => assert_eq!(verdict, Some(ErrorKind::Config), "{case}"),
                    None => assert_eq!(verdict, Some(ErrorKind::Unavailable), "{case}"),
                }
                // A server that is dishonest only for a while loses nothing, unless it refuses us.
                assert!(found.is_some() || trick.times == ALWAYS || trick.is_refused(), "{case}");
            }
        });
    }
    while let Some(share) = judged.join_next().await {
        share.expect("judged");
    }
}

#[tokio::test]
async fn what_cannot_be_read_back_is_neither_called_written_nor_lost() {
    let world = World::new().await;
    for written in Written::ALL {
        for answer in [Answer::True, Answer::Status(500), Answer::Reset] {
            for effect in [Effect::Written, Effect::Nothing] {
                let trick = Trick { effect, answer, times: ALWAYS, denies: false };
                let (verdict, _, told) = world.settle(written, None, trick, true).await;
                assert_eq!(
                    verdict,
                    Some(ErrorKind::Unavailable),
                    "{written:?} {answer:?} {effect:?}: {told}"
                );
                assert!(!told.contains("nothing is there"), "{told}");
            }
        }
    }
}

/// The server is as strict as S3: else the table would prove nothing.
#[tokio::test]
async fn the_server_itself_gives_a_name_once() {
    let server = Server::start().await;
    let store = s3(&server.endpoint);
    store.create("a/b", "x".into()).await.expect("created");
    assert_eq!(store.create("a/b", "y".into()).await.expect_err("taken").kind(), ErrorKind::Conflict);
    assert_eq!(store.read("a/b").await.expect("there"), "x");
    assert_eq!(store.length("a/b").await.expect("there"), 1);
    let listed = store.list_folder("a").await.expect("listed");
    assert_eq!(listed.iter().map(|one| (&*one.key, one.bytes)).collect::<Vec<_>>(), [("a/b", 1)]);
}
