//! How to reach the store of a repository, and how objects are written there.
//!
//! Rule: what is set is obeyed or refused, never passed over: what the store's kind does not know, such as an encryption in
//! a folder, is a Config error before the first byte. Credentials are never written here: they come from the environment, a
//! profile, or the machine, container or pod the program runs in.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::address::secret_of;
use crate::error::{Error, ErrorKind, Result};

/// The longest that one request may be given: an hour.
const LONGEST_REQUEST: u32 = 3600;

/// What a folder does not know: all but `allow_unfit`.
const NOT_OF_A_FOLDER: &[&str] = &[
    "endpoint",
    "region",
    "profile",
    "path_style",
    "allow_http",
    "sse",
    "kms_key_id",
    "bucket_key",
    "storage_class",
    "checksum",
    "proxy_url",
    "ca_file",
    "request_timeout_seconds",
];

/// What Google does not know, or not by these words.
const NOT_OF_GOOGLE: &[&str] =
    &["region", "profile", "path_style", "sse", "kms_key_id", "bucket_key", "checksum"];

/// How to reach a bucket, and how objects are written there. What is not set is taken from the usual `AWS_*` and
/// `GOOGLE_*` variables; a folder needs none of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// The address of the server, for anything that is not AWS or Google itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The bucket's region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The profile of `~/.aws/config` and `~/.aws/credentials` whose credentials count. Without it the variables come
    /// first, then `AWS_PROFILE`, then what the pod, the container or the machine gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Whether the bucket is part of the path (as if nothing is set) or of the host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Whether plain http is allowed: for tests on this machine.
    pub allow_http: bool,
    /// Who encrypts each object: the store with its own key (`s3`), or with one of its key service (`kms`). Without it,
    /// as the bucket says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sse: Option<Sse>,
    /// The key of the key service; the account's own, if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// Whether a key of the bucket stands between: fewer calls to the key service. As the bucket says, if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket_key: Option<bool>,
    /// The storage class of parts, which are nearly all of the bytes. All else is small, short-lived or read at every
    /// run, and goes where the bucket puts it. The bucket's default, if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<StorageClass>,
    /// What the store checks each body by. `none` is for stores that refuse checksums; the signature covers it still.
    pub checksum: Checksum,
    /// The proxy to go through; `HTTPS_PROXY` and its like, if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<String>,
    /// A file of PEM certificates to trust besides the machine's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How long one request may take: 120 s are a part of 32 MiB at 2.2 Mbit/s.
    pub request_timeout_seconds: NonZeroU32,
    /// Whether to begin a repository in a store that gives one name twice. Two runs at once may then damage it: only for
    /// who makes sure by other means that there is never more than one.
    pub allow_unfit: bool,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            profile: None,
            path_style: None,
            allow_http: false,
            sse: None,
            kms_key_id: None,
            bucket_key: None,
            storage_class: None,
            checksum: Checksum::Sha256,
            proxy_url: None,
            ca_file: None,
            request_timeout_seconds: NonZeroU32::new(120).unwrap_or(NonZeroU32::MIN),
            allow_unfit: false,
        }
    }
}

/// Whose key encrypts an object in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sse {
    /// The store's own.
    S3,
    /// One of the store's key service.
    Kms,
}

/// What the store checks a body by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// `x-amz-checksum-sha256`: the digest that parts are named by.
    Sha256,
    /// `x-amz-checksum-crc64nvme`.
    Crc64nvme,
    /// None is sent.
    None,
}

/// A storage class whose objects can be read at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorageClass(String);

impl StorageClass {
    /// Its name, as the store's protocol has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<StorageClass> for String {
    fn from(class: StorageClass) -> Self {
        class.0
    }
}

impl TryFrom<String> for StorageClass {
    type Error = String;

    /// Takes any name but those of archives, from which an object must be ordered hours before it can be read: merging
    /// parts, `verify` and every query would fail. (Amazon S3, "Understanding and managing Amazon S3 storage classes",
    /// read 2026-11.) Classes have names of their own making on Ceph, so the others cannot be listed here.
    fn try_from(name: String) -> std::result::Result<Self, String> {
        if matches!(name.as_str(), "GLACIER" | "DEEP_ARCHIVE") {
            return Err(format!(
                "what lies in {name} cannot be read at once: choose one like STANDARD_IA or GLACIER_IR"
            ));
        }
        let spelled = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if name.is_empty() || !name.bytes().all(spelled) {
            return Err(format!("`{name}` is not a storage class: they are spelled like STANDARD_IA"));
        }
        Ok(Self(name))
    }
}

impl StoreSettings {
    /// Whether these settings make sense for the store at `url`.
    pub fn check(&self, url: &str) -> Result<()> {
        check_place(url)?;
        self.check_values()?;
        self.check_addresses()?;
        let (unknown, why, remedy): (&[&str], _, _) = match url.split_once("://") {
            Some(("gs", _)) => (
                NOT_OF_GOOGLE,
                "means nothing to Google",
                "leave it out: the bucket itself is set up so there",
            ),
            Some(("file", _)) | None => (
                NOT_OF_A_FOLDER,
                "means nothing to a folder",
                "leave it out, or name a bucket as the repository",
            ),
            Some(_) => (&[], "", ""),
        };
        let set = self.set();
        match unknown.iter().find(|key| set.contains(key)) {
            Some(key) => refuse(key, why, remedy),
            None => Ok(()),
        }
    }

    /// The keys that say something else than if they were not there.
    fn set(&self) -> Vec<&'static str> {
        let defaults = Self::default();
        [
            ("endpoint", self.endpoint != defaults.endpoint),
            ("region", self.region != defaults.region),
            ("profile", self.profile != defaults.profile),
            ("path_style", self.path_style != defaults.path_style),
            ("allow_http", self.allow_http != defaults.allow_http),
            ("sse", self.sse != defaults.sse),
            ("kms_key_id", self.kms_key_id != defaults.kms_key_id),
            ("bucket_key", self.bucket_key != defaults.bucket_key),
            ("storage_class", self.storage_class != defaults.storage_class),
            ("checksum", self.checksum != defaults.checksum),
            ("proxy_url", self.proxy_url != defaults.proxy_url),
            ("ca_file", self.ca_file != defaults.ca_file),
            ("request_timeout_seconds", self.request_timeout_seconds != defaults.request_timeout_seconds),
        ]
        .into_iter()
        .filter_map(|(key, is_set)| is_set.then_some(key))
        .collect()
    }

    fn check_values(&self) -> Result<()> {
        if self.request_timeout_seconds.get() > LONGEST_REQUEST {
            return refuse(
                "request_timeout_seconds",
                "is more than an hour",
                "120 s do for most connections",
            );
        }
        for (key, is_set) in
            [("kms_key_id", self.kms_key_id.is_some()), ("bucket_key", self.bucket_key.is_some())]
        {
            if is_set && self.sse != Some(Sse::Kms) {
                return refuse(key, "is set without sse = \"kms\"", "set both or neither");
            }
        }
        for (key, text) in [
            ("endpoint", &self.endpoint),
            ("region", &self.region),
            ("profile", &self.profile),
            ("kms_key_id", &self.kms_key_id),
            ("proxy_url", &self.proxy_url),
        ] {
            if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                return refuse(key, "is empty", "leave the key out instead");
            }
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<()> {
        for (key, text) in [("endpoint", &self.endpoint), ("proxy_url", &self.proxy_url)] {
            let Some(text) = text else { continue };
            match Url::parse(text) {
                // The text may hold what nobody may read, so it is not repeated.
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                    if let Some(secret) = secret_of(&url) {
                        return refuse(
                            key,
                            &format!("holds {secret}"),
                            "take that out: HTTPS_PROXY may hold the credentials of a proxy",
                        );
                    }
                }
                _ => return refuse(key, "is no address", "write it like https://host.example.com:8443"),
            }
        }
        Ok(())
    }
}

/// Refuses credentials where the bucket's name should be, and the query of a signed address: they would be printed with
/// the repository's name, everywhere.
fn check_place(url: &str) -> Result<()> {
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(()) };
    let refuse = |what: &str| {
        Err(Error::new(ErrorKind::Config, format!("the repository's URL has {what}, as if it held credentials")).remedy(
            "write s3://bucket/prefix: credentials come from variables, a profile or the machine, and another server \
             is store.endpoint",
        ))
    };
    // Up to the first slash, which a secret key may have as well: no bucket's name has either.
    if rest.split('/').next().unwrap_or_default().contains(['@', ':']) {
        return refuse("`@` or `:` before its first slash");
    }
    // A folder's name may have any character.
    if scheme != "file" && rest.contains('?') {
        return refuse("a query");
    }
    Ok(())
}

fn refuse(key: &str, why: &str, remedy: &str) -> Result<()> {
    Err(Error::new(ErrorKind::Config, format!("store.{key} {why}")).remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(text: &str, url: &str) -> Result<StoreSettings> {
        let settings: StoreSettings = toml::from_str(text)
            .map_err(|cause| Error::new(ErrorKind::Config, cause.to_string().trim_end()))?;
        settings.check(url).map(|()| settings)
    }

    #[test]
    fn every_setting_has_a_type_and_a_meaning() {
        let settings = parsed(
            "endpoint = 'https://s3.example.com'\nregion = 'eu-1'\nprofile = 'backup'\npath_style = false\n\
             sse = 'kms'\nkms_key_id = 'k'\nbucket_key = true\nstorage_class = 'GLACIER_IR'\n\
             checksum = 'crc64nvme'\nproxy_url = 'http://proxy:3128'\nca_file = '/ca.pem'\n\
             request_timeout_seconds = 30\nallow_unfit = true",
            "s3://bucket",
        )
        .expect("valid");
        assert_eq!((settings.sse, settings.checksum), (Some(Sse::Kms), Checksum::Crc64nvme));
        assert_eq!(settings.storage_class.expect("set").as_str(), "GLACIER_IR");
        assert_eq!(parsed("", "s3://bucket").expect("the defaults"), StoreSettings::default());
        parsed("storage_class = 'NEARLINE'\nendpoint = 'http://g'", "gs://bucket").expect("of Google's");
    }

    #[test]
    fn what_would_not_be_obeyed_is_refused_by_name() {
        for (text, url, named) in [
            ("storage_class = 'GLACIER'", "s3://b", "GLACIER cannot be read at once"),
            ("storage_class = 'DEEP_ARCHIVE'", "s3://b", "DEEP_ARCHIVE"),
            ("storage_class = 'standard ia'", "s3://b", "standard ia"),
            ("checksum = 'md5'", "s3://b", "md5"),
            ("sse = 'c'", "s3://b", "sse"),
            ("kms_key_id = 'k'", "s3://b", "kms_key_id"),
            ("sse = 's3'\nkms_key_id = 'k'", "s3://b", "kms_key_id"),
            ("sse = 's3'\nbucket_key = true", "s3://b", "bucket_key"),
            ("request_timeout_seconds = 0", "s3://b", "request_timeout_seconds"),
            ("request_timeout_seconds = 3601", "s3://b", "request_timeout_seconds"),
            ("profile = ''", "s3://b", "profile"),
            ("secret = 'canary'", "s3://b", "secret"),
            ("endpoint = 's3.example.com'", "s3://b", "endpoint"),
            ("proxy_url = 'http://me:canary@proxy:3128'", "s3://b", "proxy_url"),
            ("", "s3://KEY:canary@bucket/prefix", "credentials"),
            ("", "s3://KEY:can/ary+canary@bucket/prefix", "credentials"),
            ("", "https://canary@host/bucket", "credentials"),
            ("", "https://host/bucket?X-Amz-Signature=canary", "credentials"),
            ("", "s3://bucket/prefix?X-Amz-Signature=canary", "credentials"),
            ("endpoint = 'https://me:canary@host'", "s3://b", "endpoint"),
            ("endpoint = 'https://host/?sig=canary'", "s3://b", "endpoint"),
            ("sse = 's3'", "gs://b", "sse"),
            ("region = 'r'", "gs://b", "region"),
            ("profile = 'p'", "gs://b", "profile"),
            ("checksum = 'none'", "gs://b", "checksum"),
            ("checksum = 'crc64nvme'", "gs://b", "checksum"),
            ("path_style = true", "gs://b", "path_style"),
        ] {
            let error = parsed(text, url).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(text.starts_with("secret") || !error.to_string().contains("canary"), "{error}");
            assert!(error.to_string().contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn a_folder_refuses_every_setting_of_a_bucket_by_name() {
        let all = [
            ("endpoint", "'https://s3.example.com'"),
            ("region", "'eu-1'"),
            ("profile", "'p'"),
            ("path_style", "true"),
            ("allow_http", "true"),
            ("sse", "'s3'"),
            ("kms_key_id", "'k'\nsse = 'kms'"),
            ("bucket_key", "true\nsse = 'kms'"),
            ("storage_class", "'STANDARD_IA'"),
            ("checksum", "'none'"),
            ("proxy_url", "'http://proxy:3128'"),
            ("ca_file", "'/ca.pem'"),
            ("request_timeout_seconds", "30"),
            ("allow_unfit", "true"),
        ];
        let named: std::collections::BTreeSet<_> = all.iter().map(|(key, _)| format!("{key} = 1")).collect();
        for (key, value) in all {
            let text = format!("{key} = {value}");
            parsed(&text, "s3://bucket").expect(key);
            for url in ["/var/backups/acme", "backups", "file:///var/backups/acme"] {
                match parsed(&text, url) {
                    Ok(_) => assert_eq!(key, "allow_unfit", "{url} takes it"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Config, "{key}: {error}");
                        assert!(error.to_string().contains("means nothing to a folder"), "{key}: {error}");
                        assert!(error.remedy_text().is_some(), "{key}");
                    }
                }
            }
        }
        parsed("checksum = 'sha256'\nallow_http = false\nrequest_timeout_seconds = 120", "/a")
            .expect("the defaults");
        // Whoever adds a setting adds it here.
        let known = toml::from_str::<StoreSettings>("nonsense = 1").expect_err("unknown").to_string();
        let known = known.split("expected one of ").nth(1).expect("the keys").replace(['`', ','], " ");
        let known: std::collections::BTreeSet<_> =
            known.split_whitespace().map(|key| format!("{key} = 1")).collect();
        assert_eq!(known, named);
    }
}
