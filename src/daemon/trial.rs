//! Trying what lies outside: the token, and the repository.
//!
//! Rule: a trial takes a moment only, and what comes of it, a panic included, stops nothing: the next tick tries again.

use std::sync::Arc;
use std::time::Duration;

use crate::backup;
use crate::config::{Config, Organization};
use crate::daemon::last::Last;
use crate::daemon::{Outside, job};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::Repository;

/// How long a trial takes at most.
const TRIED_FOR: Duration = Duration::from_secs(20);

/// What came of trying what one organization needs.
#[derive(Debug)]
pub(super) struct Tried {
    /// Its name in the settings.
    pub(super) name: String,
    pub(super) organization: Arc<Organization>,
    pub(super) token: Result<()>,
    pub(super) last: Result<Last>,
}

/// Tries the token, and asks the repository for earlier jobs.
pub(super) async fn all(
    outside: Outside,
    config: Arc<Config>,
    name: String,
    organization: Arc<Organization>,
) -> Tried {
    let (token, last) = tokio::join!(token(&outside, &config, &organization), last(&outside, &organization));
    Tried { name, organization, token, last }
}

/// Asks who the token is, and whether the clock is right.
async fn token(outside: &Outside, config: &Config, organization: &Organization) -> Result<()> {
    patiently(async {
        let client = outside.client(config, organization, &outside.clock().anchored())?;
        backup::identify(&client).await.map(|_| ())
    })
    .await
}

/// What the repository says of the runs before. Where there is none yet, there were none; a store that refuses to answer
/// says nothing of that.
pub(super) async fn last(outside: &Outside, organization: &Organization) -> Result<Last> {
    patiently(async {
        match Repository::find(outside.store(organization).await?).await? {
            Some(repository) => Last::of(&repository).await,
            None => Ok(Last::default()),
        }
    })
    .await
}

async fn patiently<T>(trial: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(TRIED_FOR, job::or_broken_off(trial)).await.unwrap_or_else(|_| {
        let seconds = TRIED_FOR.as_secs();
        Err(Error::new(ErrorKind::Unavailable, format!("no answer within {seconds} s"))
            .remedy("none is needed if it passes: the next tick tries again"))
    })
}
