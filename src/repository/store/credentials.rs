//! Credentials of a profile: keys in a file, a role to assume, a process to ask, and whatever else `aws-config` knows.
//!
//! Rule: used where a profile is asked for and nowhere else: variables, web identity, container and instance are the store
//! client's own business. Credentials are asked for again before they end, and those that name no end after a quarter of
//! an hour, so that a rotated file is noticed; but never for each request, however soon they end and whoever does not
//! answer. They are in no log and no error.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;

use aws_config::Region;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector as SmithyConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use object_store::ClientOptions;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::client::{HttpClient, HttpConnector as _};
use object_store::{CredentialProvider, client::HttpErrorKind};
use tokio::sync::Mutex;

use super::network::Network;
use super::s3;
use crate::clock::Clock;
use crate::config::StoreSettings;
use crate::error::{Error, ErrorKind, Result};

/// How long before their end credentials are asked for again; of those that end sooner, half of what is left.
const AHEAD: TimeDelta = TimeDelta::minutes(5);
/// How long nobody is asked again, whatever came of it, while there are some that are good: services of credentials allow
/// few requests, and a run makes thousands.
const PAUSE: TimeDelta = TimeDelta::seconds(30);
/// How long credentials are used that name no end.
const WITHOUT_END: TimeDelta = TimeDelta::minutes(15);

/// A profile, and the credentials it gave last.
#[derive(Debug)]
pub(super) struct Profile {
    name: String,
    region: String,
    http: HttpClient,
    kept: Kept,
}

/// The credentials that were given last, if any.
#[derive(Debug)]
struct Kept {
    clock: Clock,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    credential: Arc<AwsCredential>,
    /// When others are to be asked for.
    renew: DateTime<Utc>,
    /// When the server stops taking these.
    end: Option<DateTime<Utc>>,
}

impl Profile {
    /// The profile that `settings` name, or the environment where it holds no keys.
    pub(super) fn asked_for(
        settings: &StoreSettings,
        builder: &AmazonS3Builder,
        network: &Network,
        options: &ClientOptions,
    ) -> Result<Option<Self>> {
        let said = |key| builder.get_config_value(&key);
        let by_environment = || match said(AmazonS3ConfigKey::AccessKeyId) {
            Some(_) => None,
            None => std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty()),
        };
        let Some(name) = settings.profile.clone().or_else(by_environment) else { return Ok(None) };
        let region = match (said(AmazonS3ConfigKey::Region), s3::endpoint(builder)) {
            (Some(region), _) => region,
            (None, Some(_)) => "us-east-1".to_owned(),
            (None, None) => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("the profile `{name}` is asked for credentials, and no region is named"),
                )
                .remedy(
                    "set `region` in the store's settings, or AWS_REGION: a profile's own region is not read",
                ));
            }
        };
        // The machine's own metadata speaks plain http, and so may a token service on it.
        let http = network.of_sources(false).connect(&options.clone().with_allow_http(true))?;
        Ok(Some(Self { name, region, http, kept: Kept { clock: Clock::wall(), held: Mutex::new(None) } }))
    }

    async fn load(&self) -> object_store::Result<Credentials> {
        let sender = SharedHttpConnector::new(Sender(self.http.clone()));
        let config = ProviderConfig::without_region()
            .with_region(Some(Region::new(self.region.clone())))
            .with_http_client(http_client_fn(move |_, _| sender.clone()));
        let provider =
            ProfileFileCredentialsProvider::builder().configure(&config).profile_name(&self.name).build();
        provider.provide_credentials().await.map_err(|cause| failure(&self.name, &cause))
    }
}

impl Kept {
    /// What is held, or what `load` gives where it is time to ask.
    async fn credential<F>(
        &self,
        profile: &str,
        load: impl FnOnce() -> F,
    ) -> object_store::Result<Arc<AwsCredential>>
    where
        F: Future<Output = object_store::Result<Credentials>>,
    {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if let Some(fresh) = held.as_ref().filter(|held| now < held.renew) {
            return Ok(Arc::clone(&fresh.credential));
        }
        let loaded = load().await;
        let now = self.clock.now();
        match (loaded, held.as_mut()) {
            (Ok(given), _) => {
                let given = Held::new(&given, now);
                let credential = Arc::clone(&given.credential);
                *held = Some(given);
                Ok(credential)
            }
            // What is still good gets another chance to be renewed.
            (Err(cause), Some(last)) if last.end.is_none_or(|end| now < end) => {
                tracing::warn!(profile, %cause, "credentials could not be renewed yet");
                last.renew = last.end.map_or(now + PAUSE, |end| end.min(now + PAUSE));
                Ok(Arc::clone(&last.credential))
            }
            (Err(cause), _) => Err(cause),
        }
    }
}

impl Held {
    fn new(given: &Credentials, now: DateTime<Utc>) -> Self {
        let end = given.expiry().map(DateTime::<Utc>::from);
        let credential = AwsCredential {
            key_id: given.access_key_id().to_owned(),
            secret_key: given.secret_access_key().to_owned(),
            token: given.session_token().map(str::to_owned),
        };
        let renew = end.map_or(now + WITHOUT_END, |end| {
            let ahead = AHEAD.min((end - now) / 2);
            (end - ahead).max(now + PAUSE).min(end)
        });
        Self { credential: Arc::new(credential), renew, end }
    }
}

/// What to do: a service that does not answer may do so later, all else is a setting.
fn failure(profile: &str, cause: &CredentialsError) -> object_store::Error {
    let mut said = vec![format!("the profile `{profile}` gives no credentials"), cause.to_string()];
    let mut below = cause.source();
    while let Some(inner) = below {
        said.push(inner.to_string());
        below = inner.source();
    }
    let unanswered = matches!(cause, CredentialsError::ProviderTimedOut(_))
        || said.iter().any(|text| text == "dispatch failure" || text == "request has timed out");
    let source = said.join(": ").into();
    if unanswered {
        object_store::Error::Generic { store: "S3", source }
    } else {
        object_store::Error::Unauthenticated { path: String::new(), source }
    }
}

impl CredentialProvider for Profile {
    type Credential = AwsCredential;

    fn get_credential<'s, 'a>(
        &'s self,
    ) -> Pin<Box<dyn Future<Output = object_store::Result<Arc<AwsCredential>>> + Send + 'a>>
    where
        's: 'a,
    {
        Box::pin(self.kept.credential(&self.name, || self.load()))
    }
}

/// Lets `aws-config` ask over the same network as everything else.
#[derive(Debug)]
struct Sender(HttpClient);

impl SmithyConnector for Sender {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let (parts, body) = request.try_into_http1x().map_err(user)?.into_parts();
            let body = body.bytes().map(Bytes::copy_from_slice).unwrap_or_default();
            let request = http::Request::from_parts(parts, body.into());
            let answer = client.execute(request).await.map_err(|cause| match cause.kind() {
                HttpErrorKind::Timeout => ConnectorError::timeout(cause.into()),
                _ => ConnectorError::io(cause.into()),
            })?;
            let (parts, body) = answer.into_parts();
            let body = body.bytes().await.map_err(|cause| ConnectorError::io(cause.into()))?;
            Response::try_from(http::Response::from_parts(parts, SdkBody::from(body))).map_err(user)
        })
    }
}

fn user(cause: impl StdError + Send + Sync + 'static) -> ConnectorError {
    ConnectorError::user(Box::new(cause))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Credentials of a service that says `end` of all that it gives, and is asked once a second for `seconds`: how often
    /// it was asked, and how often there were none. It answers as long as `answers` says so.
    async fn asked(end: TimeDelta, seconds: u32, answers: impl Fn(u32) -> bool) -> (u32, u32) {
        let clock = Clock::simulated(DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time"));
        let end = SystemTime::from(clock.now() + end);
        let kept = Kept { clock, held: Mutex::new(None) };
        let (loads, mut without) = (Cell::new(0), 0);
        for second in 0..seconds {
            let load = || {
                loads.set(loads.get() + 1);
                let given = Credentials::new("key", "canary", None, Some(end), "test");
                let silent = object_store::Error::Generic { store: "S3", source: "silence".into() };
                std::future::ready(if answers(second) { Ok(given) } else { Err(silent) })
            };
            without += u32::from(kept.credential("backup", load).await.is_err());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        (loads.get(), without)
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_end_soon_are_not_asked_for_at_each_request() {
        // Half of four minutes, of two, of one, then every half minute.
        let (loads, without) = asked(TimeDelta::minutes(4), 240, |_| true).await;
        assert!((3..=5).contains(&loads) && without == 0, "{loads} {without}");
        let (loads, without) = asked(TimeDelta::hours(1), 3300, |_| true).await;
        assert_eq!((loads, without), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_does_not_answer_is_left_alone_while_there_are_good_credentials() {
        let (loads, without) = asked(TimeDelta::minutes(4), 240, |second| second == 0).await;
        assert!((4..=6).contains(&loads) && without == 0, "{loads} {without}");
        // Those that have ended are no use, so it is asked.
        let (loads, without) = asked(TimeDelta::minutes(4), 250, |second| second == 0).await;
        assert!((14..=16).contains(&loads) && without == 10, "{loads} {without}");
    }

    #[test]
    fn credentials_are_renewed_before_they_end() {
        let now = DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time");
        let given = |expires| Credentials::new("key", "canary", None, expires, "test");
        let held = Held::new(&given(Some(SystemTime::from(now) + Duration::from_secs(3600))), now);
        assert_eq!((held.renew, held.end), (now + TimeDelta::minutes(55), Some(now + TimeDelta::hours(1))));
        let held = Held::new(&given(None), now);
        assert_eq!((held.renew, held.end), (now + TimeDelta::minutes(15), None));
        assert!(!format!("{held:?}").contains("canary"), "{held:?}");
    }

    #[test]
    fn a_profile_that_gives_none_is_a_setting_and_a_service_that_is_silent_is_not() {
        for (cause, kind) in [
            (CredentialsError::not_loaded("no such profile"), ErrorKind::Config),
            (CredentialsError::invalid_configuration("a loop"), ErrorKind::Config),
            (CredentialsError::provider_error("403 AccessDenied"), ErrorKind::Config),
            (CredentialsError::provider_error("dispatch failure"), ErrorKind::Unavailable),
            (CredentialsError::provider_timed_out(Duration::from_secs(1)), ErrorKind::Unavailable),
        ] {
            let error = Error::from(failure("backup", &cause));
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("backup"), "{error}");
        }
    }
}
