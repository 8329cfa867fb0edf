//! How requests travel: over the network, or to a service in this process.
//!
//! Rule: what travels is a [`Get`], and nothing else can be made of it: this program has no way to change anything at
//! Asana. The token goes to one host: redirects are not followed, and what may travel in clear, because it stays on this
//! very machine, passes no proxy. Encryption is by rustls alone.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};
use url::Url;

use crate::asana::exchange::in_full;
use crate::error::{Error, ErrorKind, Result};

/// The most headers of an answer. Asana sends about thirty.
const HEADERS: usize = 100;
/// The most bytes that they may have together.
const HEADER_BYTES: u32 = 64 << 10;

/// The body of an answer, as it arrives.
pub type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

/// How requests travel: the one seam between this program and Asana.
pub type Transport = BoxCloneSyncService<Get, Response<AnswerBody>, BoxError>;

/// A question to Asana: a GET, which has no body.
#[derive(Debug)]
pub struct Get {
    url: Url,
    token: HeaderValue,
}

impl Get {
    pub(super) fn new(url: Url, token: HeaderValue) -> Self {
        Self { url, token }
    }

    fn request<B: Default>(self) -> http::Result<Request<B>> {
        Request::get(self.url.as_str())
            .header(AUTHORIZATION, self.token)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .body(B::default())
    }
}

/// How connections are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Longest time to reach the host: a reachable one answers within a second.
    pub connect_timeout: Duration,
    /// Certificates, in PEM, of authorities that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), ca_file: None }
    }
}

/// Travels over the network.
pub fn transport_over_network(options: &NetworkOptions) -> Result<Transport> {
    let doing = |error: Error| error.doing("prepare connections to Asana");
    let encrypted = builder(options).https_only(true).tls_certs_merge(authorities(options).map_err(doing)?);
    // Asana's own simulator on this machine: no proxy has any business in that, and would see the token.
    let plain = builder(options).no_proxy().tls_certs_only([]);
    let made = |builder: reqwest::ClientBuilder| {
        builder.build().map_err(|cause| doing(Error::new(ErrorKind::Config, in_full(&cause))))
    };
    let (encrypted, plain) = (made(encrypted)?, made(plain)?);
    Ok(Transport::new(tower::service_fn(move |get: Get| {
        let client = if get.url.scheme() == "http" { plain.clone() } else { encrypted.clone() };
        async move {
            let request =
                reqwest::Request::try_from(get.request::<Bytes>()?).map_err(reqwest::Error::without_url)?;
            let response = client.execute(request).await.map_err(reqwest::Error::without_url)?;
            let body = |body: reqwest::Body| body.map_err(|cause| cause.without_url().into()).boxed_unsync();
            Ok::<_, BoxError>(Response::from(response).map(body))
        }
    })))
}

fn builder(options: &NetworkOptions) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("asana-backup/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_max_headers(HEADERS)
        .http2_max_header_list_size(HEADER_BYTES)
}

/// The authorities of the settings.
fn authorities(options: &NetworkOptions) -> Result<Vec<reqwest::Certificate>> {
    let Some(file) = &options.ca_file else { return Ok(Vec::new()) };
    let refused = |what: String| {
        Error::new(ErrorKind::Config, format!("network.ca_file {}: {what}", file.display()))
            .remedy("name a file of certificates in PEM")
    };
    let pem = std::fs::read(file).map_err(|cause| refused(cause.kind().to_string()))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|cause| refused(in_full(&cause)))?;
    if found.is_empty() { Err(refused("it holds no certificate".to_owned())) } else { Ok(found) }
}

/// Travels to a service in this process, such as a simulated Asana.
pub fn transport_in_process<S, B>(service: S) -> Transport
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: BodyExt<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    Transport::new(tower::service_fn(move |get: Get| {
        let service = service.clone();
        async move {
            let response = service.oneshot(get.request()?).await.map_err(Into::into)?;
            Ok::<_, BoxError>(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        }
    }))
}
