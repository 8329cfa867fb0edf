//! Who gives credentials where no profile is asked for: keys of the environment, a token service, or the container, machine
//! or pod itself.
//!
//! Rule: whoever has given none yet may be nobody at all, and is waited for half a minute in all; whoever has is waited
//! for as long as the store itself. What they say is no word of the store: neither of its time, nor of what it refuses.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::CredentialProvider;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as S3};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as Google};
use tokio::time::Instant;

use super::Patience;
use super::failure::status;
use super::network::{self, Network};
use crate::error::Result;

/// How long it is not asked again, who has never given any and just failed to.
const PAUSE: Duration = Duration::from_secs(10);

/// What to do where neither keys are set nor anything gives some.
const NO_AWS: &str =
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile, or give this machine a role";
/// The same where there are profiles, of which none is taken that is not named.
const NO_PROFILE: &str = "name a profile of ~/.aws/credentials: set AWS_PROFILE=default and AWS_REGION, or `profile` and \
                          `region`; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role";
const NO_GOOGLE: &str = "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT to a file of credentials, or run \
                         `gcloud auth application-default login`, or give this machine a service account";

/// Nobody gives credentials.
#[derive(Debug)]
pub(super) struct NotGiven {
    cause: String,
    pub(super) remedy: &'static str,
}

impl fmt::Display for NotGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no credentials are set, and nothing here gives any: {}", self.cause)
    }
}

impl StdError for NotGiven {}

/// Somebody who gives credentials, or may.
#[derive(Debug)]
struct Source<C> {
    kind: &'static str,
    inner: Arc<dyn CredentialProvider<Credential = C>>,
    /// What to do if it is nobody; none where somebody is named in the settings, and so is there.
    remedy: Option<&'static str>,
    patience: Patience,
    has_given: AtomicBool,
    /// When it last failed to give any, and how.
    failed: Mutex<Option<(Instant, String)>>,
}

/// `builder` with credentials of whom it would ask by itself.
pub(super) fn of_aws(
    builder: AmazonS3Builder,
    network: &Network,
    patience: Patience,
) -> Result<AmazonS3Builder> {
    let is_set = |key: S3| builder.get_config_value(&key).is_some();
    if is_set(S3::AccessKeyId) || is_set(S3::SecretAccessKey) {
        return Ok(builder);
    }
    let by_token = is_set(S3::WebIdentityTokenFile) && is_set(S3::RoleArn);
    let file = std::env::var_os("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let has_profiles = file.or_else(|| below_home(".aws/credentials")).is_some_and(|file| file.exists());
    let nobody = if has_profiles { NO_PROFILE } else { NO_AWS };
    let asks = builder.clone().with_retry(network::retry_of_sources(patience));
    let asks = asks.with_http_connector(network.of_sources(!by_token)).build()?;
    let inner = Arc::clone(asks.credentials());
    Ok(builder.with_credentials(Source::new("S3", inner, (!by_token).then_some(nobody), patience)))
}

/// `builder` with credentials of whom it would ask by itself.
pub(super) fn of_google(
    builder: GoogleCloudStorageBuilder,
    network: &Network,
    patience: Patience,
) -> Result<GoogleCloudStorageBuilder> {
    let said = [
        Google::ServiceAccount,
        Google::ServiceAccountKey,
        Google::ApplicationCredentials,
        Google::BearerToken,
    ];
    let gcloud = below_home(".config/gcloud/application_default_credentials.json");
    let by_file = said.iter().any(|key| builder.get_config_value(key).is_some())
        || gcloud.is_some_and(|file| file.exists());
    let asks = builder.clone().with_retry(network::retry_of_sources(patience));
    let asks = asks.with_http_connector(network.of_sources(!by_file)).build()?;
    let inner = Arc::clone(asks.credentials());
    Ok(builder.with_credentials(Source::new("GCS", inner, (!by_file).then_some(NO_GOOGLE), patience)))
}

fn below_home(path: &str) -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| Path::new(&home).join(path))
}

impl<C: fmt::Debug + Send + Sync> Source<C> {
    fn new(
        kind: &'static str,
        inner: Arc<dyn CredentialProvider<Credential = C>>,
        remedy: Option<&'static str>,
        patience: Patience,
    ) -> Arc<Self> {
        let (has_given, failed) = (AtomicBool::new(false), Mutex::default());
        Arc::new(Self { kind, inner, remedy, patience, has_given, failed })
    }

    async fn credential(&self) -> object_store::Result<Arc<C>> {
        let has_given = self.has_given.load(Ordering::Relaxed);
        if let Some(cause) = self.just_failed().filter(|_| !has_given) {
            return Err(self.none(cause));
        }
        let until = Instant::now() + if has_given { self.patience.repeat } else { self.patience.credentials };
        let mut pause = self.patience.first;
        loop {
            let cause = match tokio::time::timeout_at(until, self.inner.get_credential()).await {
                Ok(Ok(given)) => {
                    self.has_given.store(true, Ordering::Relaxed);
                    return Ok(given);
                }
                Ok(Err(cause)) => cause,
                Err(_) => {
                    object_store::Error::Generic { store: self.kind, source: "no answer in time".into() }
                }
            };
            let said = cause.to_string();
            // What is refused is refused again.
            let is_refused = status(&said).is_some_and(|status| status / 100 == 4 && status != 429);
            if !has_given || is_refused || Instant::now() + pause >= until {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), said.clone()));
                return Err(if self.remedy.is_some() { self.none(said) } else { cause });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3).min(self.patience.longest);
        }
    }

    fn just_failed(&self) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.as_ref().filter(|(when, _)| when.elapsed() < PAUSE).map(|(_, cause)| cause.clone())
    }

    fn none(&self, cause: String) -> object_store::Error {
        let source = match self.remedy {
            Some(remedy) => NotGiven { cause, remedy }.into(),
            None => cause.into(),
        };
        object_store::Error::Generic { store: self.kind, source }
    }
}

impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for Source<C> {
    type Credential = C;

    fn get_credential<'s, 'a>(
        &'s self,
    ) -> Pin<Box<dyn Future<Output = object_store::Result<Arc<C>>> + Send + 'a>>
    where
        's: 'a,
    {
        Box::pin(self.credential())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    /// Does, one after the other, what its script says, and then nothing for ever.
    #[derive(Debug)]
    struct Script(Mutex<Vec<Option<u16>>>);

    impl CredentialProvider for Script {
        type Credential = u8;

        fn get_credential<'s, 'a>(
            &'s self,
        ) -> Pin<Box<dyn Future<Output = object_store::Result<Arc<u8>>> + Send + 'a>>
        where
            's: 'a,
        {
            Box::pin(async move {
                let next = self.0.lock().expect("not poisoned").pop();
                match next {
                    None => std::future::pending().await,
                    Some(None) => Ok(Arc::new(1)),
                    Some(Some(status)) => Err(object_store::Error::Generic {
                        store: "S3",
                        source: format!("non-2xx status code: {status} As Told").into(),
                    }),
                }
            })
        }
    }

    fn source(script: &[Option<u16>]) -> Arc<Source<u8>> {
        let script = Script(Mutex::new(script.iter().rev().copied().collect()));
        Source::new("S3", Arc::new(script), Some(NO_AWS), Patience::default())
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_gave_credentials_is_waited_for_half_a_minute_at_most() {
        for script in [&[][..], &[Some(500)]] {
            let (source, began) = (source(script), Instant::now());
            let error = Error::from(source.credential().await.expect_err("nobody"));
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert_eq!(error.remedy_text(), Some(NO_AWS));
            source.credential().await.expect_err("nobody still");
            assert!(began.elapsed() <= Duration::from_secs(30), "{script:?}: {:?}", began.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_gave_credentials_is_waited_for_and_a_refusal_is_not() {
        let given = source(&[None, Some(500), Some(503), None]);
        for _ in 0..2 {
            given.credential().await.expect("given");
        }
        let (refused, began) = (source(&[None, Some(403), None]), Instant::now());
        refused.credential().await.expect("given");
        refused.credential().await.expect_err("refused");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        refused.credential().await.expect("asked again");
        let silent = source(&[None]);
        silent.credential().await.expect("given");
        silent.credential().await.expect_err("for ever");
        assert!(began.elapsed() >= Patience::default().repeat, "{:?}", began.elapsed());
    }
}
