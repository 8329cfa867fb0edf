//! What a repository may rely on, whatever a store answers; and the flawed stores that the tests of this room share.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStoreExt as _,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;
use crate::model::Hash;

/// An empty store in memory.
pub(in crate::repository) fn memory() -> Store {
    Store::from_object_store(Arc::new(InMemory::new()), "", "memory:///repository").expect("a store")
}

/// A store on the S3 server at `endpoint`, reached as in earnest, but without patience.
pub(in crate::repository) fn s3(endpoint: &str) -> Store {
    s3_by(endpoint, AmazonS3Builder::new().with_access_key_id("key").with_secret_access_key("secret"))
}

/// The same with credentials of whom `builder` asks.
pub(in crate::repository) fn s3_by(endpoint: &str, builder: AmazonS3Builder) -> Store {
    let settings = StoreSettings {
        endpoint: Some(endpoint.to_owned()),
        region: Some("us-east-1".to_owned()),
        path_style: Some(true),
        allow_http: true,
        ..StoreSettings::default()
    };
    let patience = Patience {
        pause: Duration::from_millis(1),
        request: Duration::from_millis(400),
        credentials: Duration::from_secs(5),
        repeat: Duration::from_secs(60),
        first: Duration::from_millis(1),
        longest: Duration::from_millis(2),
    };
    s3::open("bucket/repository", &settings, builder, patience).expect("a store")
}

/// The same objects, at another place.
pub(in crate::repository) fn moved(store: &Store, url: &str) -> Store {
    Store { url: url.into(), ..store.clone() }
}

/// The same objects, in a store that is lived with although it is unfit.
pub(in crate::repository) fn unfit_allowed(store: &Store) -> Store {
    Store { allow_unfit: true, ..store.clone() }
}

/// Takes an object away.
pub(in crate::repository) async fn remove(store: &Store, key: &str) {
    store.objects.delete(&store.path(key).expect("a key")).await.expect("deleted");
}

/// What goes wrong with one put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::repository) enum Flaw {
    /// It never arrives.
    Lost,
    /// It takes effect, and the answer is lost.
    Unanswered,
    /// It takes effect, and a repetition inside of the client says that it was there already.
    Repeated,
    /// It overwrites, whatever it was told.
    Careless,
    /// It looks whether something is there, and writes a moment later.
    Hasty,
    /// It is refused, because the credentials have ended.
    Expired,
    /// Nothing.
    None,
}

/// The same objects, behind a store that spoils its first puts, one flaw each.
pub(in crate::repository) fn flawed(store: &Store, flaws: &[Flaw]) -> Store {
    let flaws = Mutex::new(flaws.iter().rev().copied().collect());
    Store { objects: Arc::new(Flawed { inner: store.objects.clone(), flaws }), ..store.clone() }
}

#[derive(Debug)]
struct Flawed {
    inner: Arc<dyn ObjectStore>,
    flaws: Mutex<Vec<Flaw>>,
}

impl std::fmt::Display for Flawed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("flawed")
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = object_store::Result<T>> + Send + 'a>>;

impl ObjectStore for Flawed {
    fn put_opts<'s, 'p, 'a>(
        &'s self,
        at: &'p Path,
        payload: PutPayload,
        how: PutOptions,
    ) -> Answer<'a, PutResult>
    where
        's: 'a,
        'p: 'a,
    {
        Box::pin(async move {
            let cut = || object_store::Error::Generic { store: "flawed", source: "connection cut".into() };
            let flaw = self.flaws.lock().expect("not poisoned").pop();
            match flaw {
                Some(Flaw::Lost) => Err(cut()),
                Some(Flaw::Unanswered) => self.inner.put_opts(at, payload, how).await.and(Err(cut())),
                Some(Flaw::Repeated) => {
                    self.inner.put_opts(at, payload.clone(), how.clone()).await?;
                    self.inner.put_opts(at, payload, how).await
                }
                Some(Flaw::Careless) => self.inner.put_opts(at, payload, PutOptions::default()).await,
                Some(Flaw::Hasty) => {
                    let found = self.inner.head(at).await;
                    tokio::task::yield_now().await;
                    match found {
                        Ok(_) => self.inner.put_opts(at, payload, how).await,
                        Err(_) => self.inner.put_opts(at, payload, PutOptions::default()).await,
                    }
                }
                Some(Flaw::Expired) => Err(object_store::Error::Generic {
                    store: "flawed",
                    source: "400: <Error><Code>ExpiredToken</Code></Error>".into(),
                }),
                Some(Flaw::None) | None => self.inner.put_opts(at, payload, how).await,
            }
        })
    }

    fn put_multipart_opts<'s, 'p, 'a>(
        &'s self,
        at: &'p Path,
        how: PutMultipartOptions,
    ) -> Answer<'a, Box<dyn MultipartUpload>>
    where
        's: 'a,
        'p: 'a,
    {
        self.inner.put_multipart_opts(at, how)
    }

    fn get_opts<'s, 'p, 'a>(&'s self, at: &'p Path, how: GetOptions) -> Answer<'a, GetResult>
    where
        's: 'a,
        'p: 'a,
    {
        self.inner.get_opts(at, how)
    }

    fn get_ranges<'s, 'p, 'r, 'a>(&'s self, at: &'p Path, ranges: &'r [Range<u64>]) -> Answer<'a, Vec<Bytes>>
    where
        's: 'a,
        'p: 'a,
        'r: 'a,
    {
        self.inner.get_ranges(at, ranges)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_delimiter<'s, 'p, 'a>(&'s self, prefix: Option<&'p Path>) -> Answer<'a, ListResult>
    where
        's: 'a,
        'p: 'a,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'s, 'f, 't, 'a>(&'s self, from: &'f Path, to: &'t Path, how: CopyOptions) -> Answer<'a, ()>
    where
        's: 'a,
        'f: 'a,
        't: 'a,
    {
        self.inner.copy_opts(from, to, how)
    }
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn a_store_does_not_print_its_keys() {
    let builder = AmazonS3Builder::new().with_access_key_id("canary-id").with_secret_access_key("canary");
    let builder = builder.with_token("canary-of-a-session").with_region("us-east-1");
    let store = s3::open("b/p", &StoreSettings::default(), builder, Patience::default()).expect("a store");
    assert_eq!(format!("{store:?}"), r#"Store { url: "s3://b/p", .. }"#);
}

#[tokio::test(start_paused = true)]
async fn a_create_is_settled_by_what_is_there() {
    use Flaw::{Lost, Repeated, Unanswered};
    for flaws in [&[][..], &[Lost], &[Unanswered], &[Repeated], &[Lost, Lost, Unanswered]] {
        let store = flawed(&memory(), flaws);
        store.create("a", bytes("x")).await.unwrap_or_else(|error| panic!("{flaws:?}: {error}"));
        assert_eq!(store.read("a").await.expect("there"), bytes("x"));
        let store = flawed(&memory(), flaws);
        store.create_part("a", bytes("x")).await.unwrap_or_else(|error| panic!("{flaws:?}: {error}"));
    }
    let error = flawed(&memory(), &[Lost; 4]).create("a", bytes("x")).await.expect_err("four times");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn ranges_come_in_their_order_and_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = Store::open(folder.path().to_str().expect("UTF-8"), &StoreSettings::default());
    for store in [memory(), local.expect("a store")] {
        store.create("a", bytes("0123456789")).await.expect("created");
        let read = store.read_ranges("a", 10, &[7..10, 0..1, 2..5]).await.expect("read");
        assert_eq!(read, [bytes("789"), bytes("0"), bytes("234")]);
        assert_eq!(store.read_ranges("a", 10, &[]).await.expect("nothing"), Vec::<Bytes>::new());
        for ranges in [[0..1, 8..12], [0..1, 11..12], [0..1, 200..300]] {
            let error = store.read_ranges("a", 300, &ranges).await.expect_err("too short");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{ranges:?}: {error}");
        }
        let error = store.read_ranges("b", 10, &[0..1, 1..2]).await.expect_err("not there");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test(start_paused = true)]
async fn another_content_is_a_conflict_and_stays() {
    let store = memory();
    store.create("a", bytes("x")).await.expect("created");
    store.create("a", bytes("x")).await.expect("the same again");
    for flaws in [&[][..], &[Flaw::Lost], &[Flaw::Lost, Flaw::Lost]] {
        let error = flawed(&store, flaws).create("a", bytes("y")).await.expect_err("different");
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert_eq!(store.create_part("a", bytes("yy")).await.expect_err("longer").kind(), ErrorKind::Corrupt);
    assert_eq!(store.read("a").await.expect("there"), bytes("x"));
}

#[tokio::test]
async fn what_is_missing_or_damaged_is_corrupt_and_named() {
    let store = memory();
    store.create("a", bytes("x")).await.expect("created");
    store.read_verified("a", 1, Hash::of(b"x")).await.expect("sound");
    for (key, length, sha256) in
        [("a", 2, Hash::of(b"x")), ("a", 1, Hash::of(b"y")), ("b", 1, Hash::of(b"x"))]
    {
        let error = store.read_verified(key, length, sha256).await.expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().starts_with(&format!("read {key}: ")), "{error}");
    }
    assert_eq!(store.try_read("b").await.expect("absent"), None);
    assert_eq!(store.length("b").await.expect_err("absent").kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_local_folder_is_made_listed_and_named_by_its_absolute_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a #1 b/ü/repository");
    let open = || Store::open(path.to_str().expect("UTF-8"), &StoreSettings::default()).expect("opened");
    let before = open();
    assert_eq!(before.list("x").await.expect("nothing yet"), []);
    assert_eq!(before.list_folder("x").await.expect("nothing yet"), []);
    before.create("x/b/c", bytes("1")).await.expect("created");
    before.create("x/a", bytes("22")).await.expect("created");
    before.put_hint("x/hint", bytes("3")).await.expect("written");
    before.put_hint("x/hint", bytes("44")).await.expect("overwritten");
    let store = open();
    assert_eq!(store.url(), before.url(), "the same before and after the folder is made");
    let shown = |listed: Vec<Listed>| listed.into_iter().map(|l| (l.key, l.bytes)).collect::<Vec<_>>();
    let flat = [("x/a".to_owned(), 2), ("x/hint".to_owned(), 2)];
    assert_eq!(shown(store.list_folder("x").await.expect("listed")), flat);
    assert_eq!(store.list("x").await.expect("listed").len(), 3);
    assert_eq!(std::fs::read(store.url_of("x/hint")).expect("a file"), b"44");
    assert_eq!(store.create("x/a", bytes("z")).await.expect_err("there").kind(), ErrorKind::Conflict);
}

#[test]
fn a_place_that_makes_no_sense_is_refused() {
    for url in ["", "ftp://a/b", "s3://", "s3:///b", "gs://", "file://a/b", "no-such-folder/../b"] {
        let error = Store::open(url, &StoreSettings::default()).expect_err(url);
        assert_eq!(error.kind(), ErrorKind::Config, "{url}: {error}");
    }
    for url in [
        "s3://KEY:canary@bucket/prefix",
        "https://bucket.s3.amazonaws.com/prefix?X-Amz-Signature=canary",
        "s3://bucket/prefix?X-Amz-Signature=canary",
        "ftp://host/prefix#canary",
    ] {
        let error = Store::open(url, &StoreSettings::default()).expect_err("a secret");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_worked_before_may_do_so_again() {
    let fresh = flawed(&memory(), &[Flaw::Expired]);
    assert_eq!(fresh.create("a", bytes("x")).await.expect_err("refused").kind(), ErrorKind::Config);
    let store = flawed(&memory(), &[Flaw::None, Flaw::Expired]);
    store.create("a", bytes("x")).await.expect("created");
    store.clone().create("b", bytes("x")).await.expect("tried again");
    let store = flawed(&memory(), &[Flaw::Expired; 9]);
    assert_eq!(store.try_read("a").await.expect("answered"), None);
    let error = store.create("a", bytes("x")).await.expect_err("for good");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.remedy_text().is_some_and(|remedy| remedy.contains("credentials")), "{error:?}");
}

#[test]
fn a_failure_says_by_its_kind_what_to_do() {
    let io = |kind: std::io::ErrorKind| object_store::Error::Generic {
        store: "local",
        source: std::io::Error::from(kind).into(),
    };
    let said = |text: &str| object_store::Error::Generic { store: "S3", source: text.to_owned().into() };
    for (cause, kind) in [
        (io(std::io::ErrorKind::PermissionDenied), ErrorKind::Config),
        (io(std::io::ErrorKind::StorageFull), ErrorKind::Unavailable),
        (io(std::io::ErrorKind::TimedOut), ErrorKind::Unavailable),
        (said("500 <Code>InternalError</Code>"), ErrorKind::Unavailable),
        (said("400 <Code>BadDigest</Code>"), ErrorKind::Unavailable),
        (said("non-2xx status code: 429 Too Many Requests: "), ErrorKind::Unavailable),
        (said("non-2xx status code: 416 : <Code>InvalidRange</Code>"), ErrorKind::Unavailable),
        (said("non-2xx status code: 400 : <Code>RequestTimeout</Code>"), ErrorKind::Unavailable),
        (said("non-2xx status code: 400 : <Code>KMS.ThrottlingException</Code>"), ErrorKind::Unavailable),
        (said("non-2xx status code: 503 : <Code>SlowDown</Code>"), ErrorKind::Unavailable),
        (said("non-2xx status code: 400 : <Code>InvalidArgument</Code>"), ErrorKind::Config),
        (said("non-2xx status code: 407 Proxy Authentication Required: "), ErrorKind::Config),
        (said("400 <Code>AuthorizationHeaderMalformed</Code>"), ErrorKind::Config),
        (said("400 <Code>ExpiredToken</Code>"), ErrorKind::Config),
        (said("400 <Code>KMS.DisabledException</Code>"), ErrorKind::Config),
        (said("Failed to read token file '/no/such'"), ErrorKind::Config),
        (object_store::Error::NotFound { path: "a".into(), source: "404".into() }, ErrorKind::Corrupt),
        (object_store::Error::PermissionDenied { path: "a".into(), source: "403".into() }, ErrorKind::Config),
        (object_store::Error::NotSupported { source: "no".into() }, ErrorKind::Unfit),
        (object_store::Error::AlreadyExists { path: "a".into(), source: "412".into() }, ErrorKind::Conflict),
    ] {
        assert_eq!(Error::from(cause).kind(), kind);
    }
}
