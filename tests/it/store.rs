//! Weather: a store that loses calls and answers, is slow, tears what is read, and goes dark when the power is cut.
//!
//! Rule: puts stay atomic, as they are on S3: one takes effect whole or not at all, whatever is answered. The same seed
//! gives the same weather, and every call is kept, with what became of it. Whatever a test is about, it fails where a
//! call deleted or replaced what is not a hint.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use crate::power::Power;
use crate::seeds::Dice;

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stroke {
    /// Nothing.
    Calm,
    /// It never arrives.
    Lost,
    /// The keys are refused.
    Denied,
    /// It takes effect, and its answer is lost.
    Unanswered,
    /// It takes so long, and then goes on.
    Stall(Duration),
    /// It takes effect, and a repetition inside of the client says that it was there already. Puts alone.
    Twice,
    /// Half of what is read arrives. Gets alone.
    Torn,
    /// Whoever calls breaks off: a bug.
    Panic,
}

/// What decides about strokes.
#[derive(Clone, Debug)]
pub(crate) enum Sky {
    /// Nothing ever happens.
    Clear,
    /// So many calls in a thousand are struck.
    Seeded { dice: Dice, per_mille: u64 },
    /// Every call is struck the same way: an outage, or a store that hangs.
    Always(Stroke),
    /// Some calls are struck: by their number among the calls to the store, from 1.
    Strokes(BTreeMap<u64, Stroke>),
}

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Overwrite,
    Update,
    Multipart,
    Get,
    Head,
    List,
    Delete,
    Copy,
}

impl Kind {
    /// Whether it leaves everything as it is.
    pub(crate) fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::List)
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The power went off before there was an answer.
    Unknown,
    Done,
    /// Nothing is there to be read, or something is there that was to be created.
    Refused,
    Struck(Stroke),
}

/// One call to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) key: String,
    pub(crate) fate: Fate,
    /// Its number among all calls that live on the power.
    pub(crate) in_power: u64,
}

/// A store with weather over it.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    inner: Arc<dyn ObjectStore>,
    power: Power,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    sky: Sky,
    calls: Vec<Call>,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = object_store::Result<T>> + Send + 'a>>;

impl Weather {
    /// A clear sky over `inner`.
    pub(crate) fn over(inner: Arc<dyn ObjectStore>, power: Power) -> Self {
        let state = State { sky: Sky::Clear, calls: Vec::new() };
        Self { inner, power, state: Arc::new(Mutex::new(state)) }
    }

    /// Changes the weather.
    pub(crate) fn turn(&self, sky: Sky) {
        self.state().sky = sky;
    }

    /// Every call there was.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// A line for each call: the same seed gives the same lines.
    pub(crate) fn trace(&self) -> Vec<String> {
        let line = |call: &Call| format!("{:?} {} {:?}", call.kind, call.key, call.fate);
        self.state().calls.iter().map(line).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one call, in whatever weather there is.
    async fn call<'e, T: Send>(
        &self,
        kind: Kind,
        key: String,
        effect: impl Fn() -> Answer<'e, T> + Send + Sync,
    ) -> object_store::Result<(T, Stroke)> {
        let number = {
            let mut state = self.state();
            state.calls.push(Call { kind, key, fate: Fate::Unknown, in_power: 0 });
            state.calls.len()
        };
        let in_power = self.power.sets_out().await;
        let stroke = {
            let mut state = self.state();
            state.calls[number - 1].in_power = in_power;
            state.strike(number, kind)
        };
        if let Stroke::Stall(wait) = stroke {
            tokio::time::sleep(wait).await;
        }
        let answer = match stroke {
            Stroke::Lost => Err(cut()),
            Stroke::Denied => Err(Error::PermissionDenied { path: String::new(), source: "403".into() }),
            Stroke::Unanswered => effect().await.and(Err(cut())),
            Stroke::Twice => match effect().await {
                Ok(_) => effect().await,
                refused => refused,
            },
            Stroke::Panic => panic!("the weather is such"),
            Stroke::Calm | Stroke::Stall(_) | Stroke::Torn => effect().await,
        };
        self.power.took_effect(in_power).await;
        self.state().calls[number - 1].fate = match (&answer, stroke) {
            (Ok(_), Stroke::Calm) => Fate::Done,
            (Err(_), Stroke::Calm) => Fate::Refused,
            _ => Fate::Struck(stroke),
        };
        answer.map(|answer| (answer, stroke))
    }
}

/// Nothing was deleted or copied, nothing overwritten but version hints, and no object created twice.
impl Drop for State {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut created = BTreeSet::new();
        for Call { kind, key, fate, .. } in &self.calls {
            match kind {
                Kind::Get | Kind::Head | Kind::List => {}
                Kind::Create if *fate == Fate::Done => {
                    assert!(created.insert(key), "{key} was created twice");
                }
                Kind::Create => {}
                Kind::Overwrite => {
                    assert!(key.ends_with("/metadata/version-hint.text"), "{key} was overwritten");
                }
                Kind::Update | Kind::Multipart | Kind::Delete | Kind::Copy => panic!("{kind:?} {key}"),
            }
        }
    }
}

impl State {
    /// What happens to call `number`.
    fn strike(&mut self, number: usize, kind: Kind) -> Stroke {
        match &mut self.sky {
            Sky::Clear => Stroke::Calm,
            Sky::Always(stroke) => *stroke,
            Sky::Strokes(strokes) => strokes.get(&(number as u64)).copied().unwrap_or(Stroke::Calm),
            Sky::Seeded { dice, per_mille } => {
                if dice.below(1_000) >= *per_mille {
                    return Stroke::Calm;
                }
                let stall = Stroke::Stall(Duration::from_millis(dice.below(40_000)));
                let last = match kind {
                    Kind::Create => Stroke::Twice,
                    Kind::Get => Stroke::Torn,
                    _ => Stroke::Lost,
                };
                [stall, last, Stroke::Lost, Stroke::Unanswered][dice.below(4) as usize]
            }
        }
    }
}

fn cut() -> Error {
    Error::Generic { store: "weather", source: "connection cut".into() }
}

/// Half of an object, and then an error.
async fn torn(whole: GetResult) -> object_store::Result<GetResult> {
    let (meta, range) = (whole.meta.clone(), whole.range.clone());
    let (attributes, extensions) = (whole.attributes.clone(), whole.extensions.clone());
    let bytes = whole.bytes().await?;
    let half = bytes.slice(..bytes.len() / 2);
    let payload = GetResultPayload::Stream(stream::iter([Ok(half), Err(cut())]).boxed());
    Ok(GetResult { payload, meta, range, attributes, extensions })
}

impl std::fmt::Display for Weather {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "weather over {}", self.inner)
    }
}

impl ObjectStore for Weather {
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
        let kind = match how.mode {
            PutMode::Create => Kind::Create,
            PutMode::Overwrite => Kind::Overwrite,
            PutMode::Update(_) => Kind::Update,
        };
        Box::pin(async move {
            let effect = || self.inner.put_opts(at, payload.clone(), how.clone());
            self.call(kind, at.to_string(), effect).await.map(|(put, _)| put)
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
        Box::pin(async move {
            let effect = || self.inner.put_multipart_opts(at, how.clone());
            self.call(Kind::Multipart, at.to_string(), effect).await.map(|(upload, _)| upload)
        })
    }

    fn get_opts<'s, 'p, 'a>(&'s self, at: &'p Path, how: GetOptions) -> Answer<'a, GetResult>
    where
        's: 'a,
        'p: 'a,
    {
        let kind = if how.head { Kind::Head } else { Kind::Get };
        Box::pin(async move {
            let effect = || self.inner.get_opts(at, how.clone());
            match self.call(kind, at.to_string(), effect).await? {
                (found, Stroke::Torn) => torn(found).await,
                (found, _) => Ok(found),
            }
        })
    }

    fn get_ranges<'s, 'p, 'r, 'a>(&'s self, at: &'p Path, ranges: &'r [Range<u64>]) -> Answer<'a, Vec<Bytes>>
    where
        's: 'a,
        'p: 'a,
        'r: 'a,
    {
        Box::pin(async move {
            let effect = || self.inner.get_ranges(at, ranges);
            self.call(Kind::Get, at.to_string(), effect).await.map(|(found, _)| found)
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let weather = self.clone();
        let deleted = locations.and_then(move |at| {
            let weather = weather.clone();
            async move {
                let effect = || -> Answer<'_, Path> { Box::pin(std::future::ready(Ok(at.clone()))) };
                weather.call(Kind::Delete, at.to_string(), effect).await
            }
        });
        let gone = deleted.map_ok(|(at, _)| at).boxed();
        self.inner.delete_stream(gone)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let (weather, prefix) = (self.clone(), prefix.cloned());
        let found = async move {
            let key = prefix.as_ref().map(Path::to_string).unwrap_or_default();
            let effect =
                || -> Answer<'_, Vec<_>> { Box::pin(weather.inner.list(prefix.as_ref()).try_collect()) };
            let (found, _) = weather.call(Kind::List, key, effect).await?;
            Ok::<_, Error>(stream::iter(found.into_iter().map(Ok)))
        };
        stream::once(found).try_flatten().boxed()
    }

    fn list_with_delimiter<'s, 'p, 'a>(&'s self, prefix: Option<&'p Path>) -> Answer<'a, ListResult>
    where
        's: 'a,
        'p: 'a,
    {
        Box::pin(async move {
            let key = prefix.map(Path::to_string).unwrap_or_default();
            let effect = || self.inner.list_with_delimiter(prefix);
            self.call(Kind::List, key, effect).await.map(|(found, _)| found)
        })
    }

    fn copy_opts<'s, 'f, 't, 'a>(&'s self, from: &'f Path, to: &'t Path, how: CopyOptions) -> Answer<'a, ()>
    where
        's: 'a,
        'f: 'a,
        't: 'a,
    {
        Box::pin(async move {
            let effect = || self.inner.copy_opts(from, to, how.clone());
            self.call(Kind::Copy, format!("{from} {to}"), effect).await.map(|((), _)| ())
        })
    }
}
