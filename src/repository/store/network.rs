//! The way to a bucket: certificates, proxies, patience, and a witness to all that is said.
//!
//! Rule: whatever the program asks of a bucket, or of who gives credentials for it, goes through here: it trusts the same
//! certificates, takes the same proxy and has the same patience. A request goes where it was meant to and nowhere else:
//! redirects are not followed, since what signs it would go along, and a stranger's answer would be believed. Nothing is
//! kept of an answer but the time it tells.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::StatusCode;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig};
use url::Url;

use super::Patience;
use crate::config::StoreSettings;
use crate::config::address::secret_of;
use crate::error::{Error, ErrorKind, Result};

/// Where machines, containers and pods are told their credentials: asked directly, whatever proxy there is. In this
/// order: EC2 twice, ECS, EKS twice, Google.
pub(super) const METADATA: [&str; 6] = [
    "169.254.169.254",
    "fd00:ec2::254",
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::23",
    "metadata.google.internal",
];

/// How an error begins that tells of such a certificate.
pub(super) const UNTRUSTED: &str = "the server's certificate is not trusted";

/// How an error begins that tells of a redirect.
pub(super) const ELSEWHERE: &str = "it points to another address";

/// How long it may take to reach a server: a reachable one answers within a second.
const CONNECT: Duration = Duration::from_secs(5);

/// The same for who is on this machine, or is nobody.
const CONNECT_HERE: Duration = Duration::from_secs(1);
/// How long one question for credentials may take.
const ASK: Duration = Duration::from_secs(10);
/// How often one is repeated.
const REPEAT: usize = 3;

/// What an altered request sends in place of the body that was signed: of the same length.
#[derive(Clone, Debug)]
pub(super) struct Instead(pub(super) Bytes);

/// What the server said last about the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness(Arc<Mutex<Option<DateTime<Utc>>>>);

/// Connects to servers as the settings say.
#[derive(Clone, Debug)]
pub(super) struct Network {
    certificates: Vec<reqwest::Certificate>,
    /// How long one request may take.
    request: Duration,
    /// Whether it goes to this machine, and so through no proxy.
    is_here: bool,
    pub(super) witness: Witness,
}

#[derive(Debug)]
struct Watched {
    client: HttpClient,
    witness: Witness,
}

impl Witness {
    /// The time that the last answer told.
    pub(super) fn told(&self) -> Option<DateTime<Utc>> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, answer: &HttpResponse) {
        let date = answer.headers().get(http::header::DATE).and_then(|value| value.to_str().ok());
        if let Some(date) = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok()) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(date.to_utc());
        }
    }
}

impl Network {
    /// Trusts the machine's own certificates, and those of `settings`.
    pub(super) fn new(settings: &StoreSettings, patience: Patience) -> Result<Self> {
        let certificates = match &settings.ca_file {
            None => Vec::new(),
            Some(path) => {
                let refuse = |cause: String| {
                    Error::new(ErrorKind::Config, format!("store.ca_file {}: {cause}", path.display()))
                        .remedy("name a file of PEM certificates that this user may read")
                };
                let pem = std::fs::read(path).map_err(|cause| refuse(cause.to_string()))?;
                let found =
                    reqwest::Certificate::from_pem_bundle(&pem).map_err(|cause| refuse(cause.to_string()))?;
                if found.is_empty() {
                    return Err(refuse("it holds no certificate".to_owned()));
                }
                found
            }
        };
        Ok(Self { certificates, request: patience.request, is_here: false, witness: Witness::default() })
    }

    /// The way to who gives credentials: on this machine, if `is_here`. What they tell of the time is not the store's.
    pub(super) fn of_sources(&self, is_here: bool) -> Self {
        let request = self.request.min(ASK);
        Self { request, is_here, witness: Witness::default(), certificates: self.certificates.clone() }
    }
}

impl HttpConnector for Network {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = self.client(options).map_err(|cause| object_store::Error::Generic {
            store: "HTTP client",
            source: cause.without_url().into(),
        })?;
        Ok(HttpClient::new(Watched { client: HttpClient::new(client), witness: self.witness.clone() }))
    }
}

impl Network {
    /// Not the store crate's own client: that one follows redirects.
    fn client(&self, options: &ClientOptions) -> reqwest::Result<reqwest::Client> {
        let said = |key| options.get_config_value(&key);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("asana-backup/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .timeout(self.request)
            .connect_timeout(if self.is_here { CONNECT_HERE } else { CONNECT })
            // As the store crate does: HTTP/2 is slower here, and lengths are those of what is stored.
            .http1_only()
            .no_gzip()
            .https_only(!is_true(said(ClientConfigKey::AllowHttp).as_deref()));
        let certificates = self.certificates.iter().cloned();
        builder = if is_true(said(ClientConfigKey::NoSystemCertificates).as_deref()) {
            builder.tls_certs_only(certificates)
        } else {
            builder.tls_certs_merge(certificates)
        };
        if self.is_here {
            builder = builder.no_proxy();
        } else if let Some(url) = said(ClientConfigKey::ProxyUrl) {
            let excludes = said(ClientConfigKey::ProxyExcludes);
            let excludes = excludes.and_then(|names| reqwest::NoProxy::from_string(&names));
            builder = builder.proxy(reqwest::Proxy::all(url)?.no_proxy(excludes));
            if let Some(pem) = said(ClientConfigKey::ProxyCaCertificate) {
                builder = builder.tls_certs_merge([reqwest::Certificate::from_pem(pem.as_bytes())?]);
            }
        }
        builder.build()
    }
}

/// Refuses what would take a protection away without a word: `value` of the environment's `name`.
pub(super) fn refuse_unsafe(name: &str, value: Option<&str>, remedy: &str) -> Result<()> {
    let value = value.unwrap_or_default();
    if matches!(value.to_ascii_lowercase().as_str(), "" | "0" | "false" | "off" | "no" | "n") {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, format!("{name} is set, and would take a protection away"))
        .remedy(remedy))
}

/// Refuses an address of the environment's `name` that may hold a secret, or is none; it is not repeated.
pub(super) fn refuse_secret(name: &str, address: Option<&str>) -> Result<()> {
    let Some(address) = address else { return Ok(()) };
    let what = match Url::parse(address) {
        Ok(url) if url.has_host() => match secret_of(&url) {
            Some(secret) => format!("{name} holds {secret}"),
            None => return Ok(()),
        },
        _ => format!("{name} is no address"),
    };
    Err(Error::new(ErrorKind::Config, what).remedy("write it like https://host.example.com:8443"))
}

/// What to do instead of trusting any certificate.
pub(super) const INSTEAD_OF_ANY: &str =
    "leave it out, and name the certificates of the store's own authority in `ca_file`";
/// What to do instead of not signing requests. That a copy of everything could be read by anybody is no use of it.
pub(super) const INSTEAD_OF_UNSIGNED: &str =
    "leave it out, and give credentials: a copy that anybody may read or write is none";

/// Whether a setting of the store crate is on, as it reads them.
pub(super) fn is_true(value: Option<&str>) -> bool {
    let value = value.unwrap_or_default().to_ascii_lowercase();
    matches!(value.as_str(), "1" | "true" | "on" | "yes" | "y")
}

type Answer<'a> = Pin<Box<dyn Future<Output = std::result::Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Watched {
    fn call<'s, 'a>(&'s self, mut request: HttpRequest) -> Answer<'a>
    where
        's: 'a,
    {
        Box::pin(async move {
            if let Some(Instead(bytes)) = request.extensions().get::<Instead>().cloned() {
                *request.body_mut() = bytes.into();
            }
            let answer = self.client.execute(request).await.map_err(at_once)?;
            if answer.status().is_redirection() && answer.status() != StatusCode::NOT_MODIFIED {
                return Err(elsewhere(&answer));
            }
            self.witness.listen(&answer);
            Ok(answer)
        })
    }
}

/// What a redirect says, which no repetition mends.
fn elsewhere(answer: &HttpResponse) -> HttpError {
    let said = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let region = said("x-amz-bucket-region").map(|region| format!(", to the region {region}"));
    // Its origin alone: whatever else the address holds is nobody's business.
    let place = said("location").and_then(|place| Url::parse(place).ok());
    let place = place.map(|place| format!(", to {}", place.origin().ascii_serialization()));
    let text = format!(
        "{ELSEWHERE} ({}{}{}), which is not followed",
        answer.status().as_u16(),
        place.unwrap_or_default(),
        region.unwrap_or_default()
    );
    HttpError::new(HttpErrorKind::Unknown, std::io::Error::other(text))
}

/// A failure that no repetition mends is told as one that is not repeated, and with its cause: the client of a bucket
/// would take it for a connection that comes back.
fn at_once(error: HttpError) -> HttpError {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if text.contains("invalid peer certificate") {
            return HttpError::new(
                HttpErrorKind::Unknown,
                std::io::Error::other(format!("{UNTRUSTED}: {text}")),
            );
        }
        cause = inner.source();
    }
    error
}

/// What the settings say of the client of a bucket, for the builders of the store crate.
pub(super) fn client(settings: &StoreSettings, patience: Patience) -> Vec<(ClientConfigKey, String)> {
    let mut said = vec![(ClientConfigKey::Timeout, format!("{} ms", patience.request.as_millis()))];
    if settings.allow_http {
        said.push((ClientConfigKey::AllowHttp, "true".to_owned()));
    }
    if let Some(proxy) = &settings.proxy_url {
        let theirs = std::env::var("NO_PROXY").or_else(|_| std::env::var("no_proxy")).unwrap_or_default();
        said.push((ClientConfigKey::ProxyUrl, proxy.clone()));
        said.push((ClientConfigKey::ProxyExcludes, format!("{},{theirs}", METADATA.join(","))));
    }
    said
}

/// How the client of a bucket repeats what failed.
pub(super) fn retry(patience: Patience) -> RetryConfig {
    let Patience { repeat, first, longest, .. } = patience;
    RetryConfig {
        backoff: BackoffConfig { init_backoff: first, max_backoff: longest, base: 3.0 },
        retry_timeout: repeat,
        ..RetryConfig::default()
    }
}

/// The same for those who give credentials.
pub(super) fn retry_of_sources(patience: Patience) -> RetryConfig {
    RetryConfig { max_retries: REPEAT, retry_timeout: patience.credentials, ..retry(patience) }
}
