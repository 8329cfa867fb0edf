//! What a bucket says of itself that is no object: whether it keeps versions, whether it locks them, and whether it lets
//! one go.
//!
//! Rule: what is not known is called so, and the only version that is asked away is one of a probe. The store crate has no
//! call for this: its signer makes an address that is good for a minute, and that no error or log repeats.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use object_store::ObjectStore;
use object_store::aws::AmazonS3;
use object_store::client::{HttpClient, HttpRequestBody};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};

use super::Store;
use super::network::Witness;
use crate::error::{Error, ErrorKind, Result};

/// How long the signed address is good for.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// Opens a bucket once more, over connections of its own.
pub(super) type Again = Arc<dyn Fn() -> object_store::Result<Arc<dyn ObjectStore>> + Send + Sync>;

/// A bucket as a server: what there is to it beside its objects.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) witness: Witness,
    pub(super) http: HttpClient,
    /// Where it speaks S3.
    pub(super) s3: Option<AmazonS3>,
    pub(super) again: Again,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// Whether a bucket keeps what is overwritten or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::repository) enum Versioning {
    /// It does.
    On,
    /// It does not.
    Off,
    /// It does not say.
    Unknown(String),
}

/// Whether a bucket keeps versions from being deleted before their time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::repository) enum Lock {
    /// It does, for so long, in the words of its rule.
    Default(String),
    /// It could, but no rule says for how long.
    NoRule,
    /// It does not.
    Off,
    /// It does not say.
    Unknown(String),
}

impl Store {
    /// Whether the bucket keeps versions; none where there is no bucket to ask.
    pub(in crate::repository) async fn versioning(&self) -> Option<Versioning> {
        let answer = self.ask("versioning").await?;
        Some(answer.map_or_else(Versioning::Unknown, |(status, body)| versioning(status, &body)))
    }

    /// Whether the bucket locks versions; none where there is no bucket to ask.
    pub(in crate::repository) async fn object_lock(&self) -> Option<Lock> {
        let answer = self.ask("object-lock").await?;
        Some(answer.map_or_else(Lock::Unknown, |(status, body)| lock(status, &body)))
    }

    /// The answer to a question about the bucket: its status and its body, or why there is none.
    async fn ask(&self, what: &str) -> Option<std::result::Result<(u16, String), String>> {
        let remote = self.remote.as_ref()?;
        let s3 = remote.s3.as_ref()?;
        let asked = asked(s3, &remote.http, (Method::GET, &Path::default(), (what, ""))).await;
        Some(asked.map_err(|error| error.to_string()))
    }

    /// Deletes `version` of the probe at `path`, by its id: the status of the answer, and what it says of itself. None where
    /// there is no bucket of S3.
    pub(super) async fn delete_version(
        &self,
        path: &Path,
        version: &str,
    ) -> Option<std::result::Result<(u16, String), String>> {
        let remote = self.remote.as_ref()?;
        let deleted =
            asked(remote.s3.as_ref()?, &remote.http, (Method::DELETE, path, ("versionId", version))).await;
        Some(
            deleted.map(|(status, body)| (status, refusal(status, &body))).map_err(|error| error.to_string()),
        )
    }
}

/// The answer to a question about a path, which is empty for the bucket itself: its status and its body.
async fn asked(
    s3: &AmazonS3,
    http: &HttpClient,
    (method, path, query): (Method, &Path, (&str, &str)),
) -> Result<(u16, String)> {
    let options = SignedUrlOptions::new().with_query([query]);
    let url = s3.signed_url_opts(method.clone(), path, GOOD_FOR, &options).await?;
    // The causes name the address, and so the signature: the kind alone is told.
    let unanswered = || Error::new(ErrorKind::Unavailable, "it does not answer");
    let request = Request::builder().method(method).uri(url.as_str());
    let request = request.body(HttpRequestBody::empty()).map_err(|_| unanswered())?;
    let answer = http.execute(request).await.map_err(|_| unanswered())?;
    let status = answer.status().as_u16();
    let body = answer.into_body().bytes().await.map_err(|_| unanswered())?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The text of the first element called `name`. These answers are a few lines of a fixed form, and no attribute in
/// them matters.
fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}

fn refusal(status: u16, body: &str) -> String {
    match element(body, "Code") {
        Some(code) => format!("{status} {code}"),
        None => status.to_string(),
    }
}

/// (Amazon S3, "`GetBucketVersioning`", read 2026-11: a bucket that never kept versions has no status at all.)
fn versioning(status: u16, body: &str) -> Versioning {
    match (status, element(body, "Status")) {
        (200, Some("Enabled")) => Versioning::On,
        (200, _) => Versioning::Off,
        _ => Versioning::Unknown(refusal(status, body)),
    }
}

/// (Amazon S3, "`GetObjectLockConfiguration`", read 2026-11: 404 where a bucket has none.)
fn lock(status: u16, body: &str) -> Lock {
    match (status, element(body, "ObjectLockEnabled")) {
        (200, Some("Enabled")) => {
            let time = [("Days", "days"), ("Years", "years")]
                .iter()
                .find_map(|(name, unit)| element(body, name).map(|number| format!("{number} {unit}")));
            match (element(body, "Mode"), time) {
                (Some(mode), Some(time)) => Lock::Default(format!("{mode} for {time}")),
                _ => Lock::NoRule,
            }
        }
        (200, _) => Lock::Off,
        (404, _) if body.contains("ObjectLockConfigurationNotFoundError") => Lock::Off,
        _ => Lock::Unknown(refusal(status, body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_taken_at_its_word_and_its_silence_is_no_word() {
        let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        let denied = "<Error><Code>AccessDenied</Code></Error>";
        for (status, body, expected) in [
            (200, enabled, Versioning::On),
            (
                200,
                "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
                Versioning::Off,
            ),
            (200, "<VersioningConfiguration/>", Versioning::Off),
            (403, denied, Versioning::Unknown("403 AccessDenied".into())),
            (501, "", Versioning::Unknown("501".into())),
        ] {
            assert_eq!(versioning(status, body), expected);
        }
        let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                    <Mode>COMPLIANCE</Mode><Days>30</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
        let bare = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
        let none = "<Error><Code>ObjectLockConfigurationNotFoundError</Code></Error>";
        for (status, body, expected) in [
            (200, rule, Lock::Default("COMPLIANCE for 30 days".into())),
            (200, bare, Lock::NoRule),
            (200, "<ObjectLockConfiguration/>", Lock::Off),
            (404, none, Lock::Off),
            (404, "<Error><Code>NoSuchBucket</Code></Error>", Lock::Unknown("404 NoSuchBucket".into())),
            (403, denied, Lock::Unknown("403 AccessDenied".into())),
        ] {
            assert_eq!(lock(status, body), expected);
        }
    }
}
