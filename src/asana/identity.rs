//! Whose token it is, and that it stays so for as long as a run lasts.
//!
//! Rule: what one snapshot says that somebody read, nobody else has read. Once a client was told who it asks for
//! ([`identify`]), a token that takes the place of the first one asks that before anything else; where it is somebody
//! else's, each further request is refused here, and the run ends. The next run begins as that other.

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Mutex as Turn;

use crate::asana::answer::{Answer, Found};
use crate::asana::client::Inner;
use crate::asana::http::{Ask, Reply, send};
use crate::asana::pace::Queue;
use crate::error::{Error, ErrorKind, Result};

/// Who a client asks for.
#[derive(Debug, Default)]
pub(super) struct Identity {
    known: Mutex<Option<Known>>,
    /// One asks who a new token is; the others wait for the answer.
    turn: Turn<()>,
}

/// The gid of `/users/me`, and the number of the last token that is known to be of that user.
#[derive(Clone, Debug)]
struct Known {
    gid: String,
    number: u64,
}

#[derive(Deserialize)]
struct Me {
    gid: String,
}

impl Identity {
    /// Whether requests may go out with token `number`.
    pub(super) fn covers(&self, number: u64) -> bool {
        self.known().is_none_or(|known| known.number == number)
    }

    fn known(&self) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, gid: String, number: u64) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known { gid, number });
    }
}

/// Asks who the token is, and holds every later request of the client to that.
pub(super) async fn identify(inner: &Inner) -> Result<Answer> {
    let _turn = inner.identity.turn.lock().await;
    Ok(match ask(inner).await? {
        Reply::Read(reading) => {
            if let Ok(me) = serde_json::from_str::<Me>(reading.data.get()) {
                inner.identity.learn(me.gid, reading.token);
            }
            Answer::Found(Found { data: reading.data, began_at: reading.began_at, seen_at: reading.seen_at })
        }
        Reply::Refused(refusal) | Reply::TooMuch(refusal) => Answer::Refused(refusal),
    })
}

/// Makes sure that the token which is there now is of the same user as before.
pub(super) async fn confirm(inner: &Inner) -> Result<()> {
    let _turn = inner.identity.turn.lock().await;
    let Some(known) = inner.identity.known() else { return Ok(()) };
    if known.number == inner.options.token.bearer().number {
        return Ok(());
    }
    match ask(inner).await? {
        Reply::Read(reading) => match serde_json::from_str::<Me>(reading.data.get()) {
            Ok(me) if me.gid == known.gid => {
                inner.identity.learn(me.gid, reading.token);
                Ok(())
            }
            Ok(me) => Err(changed(&known.gid, &me.gid)),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "`/users/me` answered no user")),
        },
        Reply::Refused(refusal) | Reply::TooMuch(refusal) => Err(refusal
            .error(ErrorKind::Unavailable, "run again when Asana answers")
            .doing("ask who the token is")),
    }
}

async fn ask(inner: &Inner) -> Result<Reply<Box<RawValue>>> {
    let query = [("opt_fields".to_owned(), "name".to_owned())];
    let ask = Ask {
        operation: "getUser",
        path: "/users/me",
        query: &query,
        queue: Queue::All,
        can_shrink: false,
        is_heavy: false,
        identifies: true,
    };
    // Boxed, because sending may lead here.
    Box::pin(send(inner, &ask, |envelope| Ok(envelope.data.to_owned())))
        .await
        .map_err(|error| error.doing("ask who the token is"))
}

fn changed(before: &str, now: &str) -> Error {
    let what = format!("the token was {before}'s when the run began, and is {now}'s now");
    Error::new(ErrorKind::Conflict, what)
        .remedy("run again: that begins anew as the other, and holds back what is gone for it until --accept-deletions")
}
