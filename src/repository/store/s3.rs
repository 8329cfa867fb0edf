//! A bucket that speaks S3: AWS, MinIO, Ceph, R2 and others.
//!
//! Rule: what the settings say comes before what the environment says. Each put carries a checksum of its body, unless
//! the settings say that the store refuses them, and is signed over its body in any case.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut};
use object_store::client::{ClientConfigKey, HttpConnector as _};
use object_store::{ClientOptions, ObjectStore};

use super::bucket::Remote;
use super::credentials::Profile;
use super::network::{self, Network};
use super::{Patience, Store, bucket_and_prefix, source};
use crate::config::address::shown;
use crate::config::{self, Sse, StoreSettings};
use crate::error::{Error, ErrorKind, Result};

/// What the client can be told in the environment too, and is then also told for the requests of our own.
const FROM_ENVIRONMENT: [ClientConfigKey; 5] = [
    ClientConfigKey::AllowHttp,
    ClientConfigKey::NoSystemCertificates,
    ClientConfigKey::ProxyUrl,
    ClientConfigKey::ProxyCaCertificate,
    ClientConfigKey::ProxyExcludes,
];

/// What the environment may not say, and what to do instead.
const UNSAFE: [(&str, AmazonS3ConfigKey, &str); 3] = [
    (
        "AWS_ALLOW_INVALID_CERTIFICATES",
        AmazonS3ConfigKey::Client(ClientConfigKey::AllowInvalidCertificates),
        network::INSTEAD_OF_ANY,
    ),
    (
        "AWS_UNSIGNED_PAYLOAD",
        AmazonS3ConfigKey::UnsignedPayload,
        "leave it out: what is written is signed; for a store that refuses checksums there is `checksum = \"none\"`",
    ),
    ("AWS_SKIP_SIGNATURE", AmazonS3ConfigKey::SkipSignature, network::INSTEAD_OF_UNSIGNED),
];

/// The addresses that the environment may name: errors repeat them.
const ADDRESSES: [(&str, AmazonS3ConfigKey); 4] = [
    ("AWS_ENDPOINT_URL_S3", AmazonS3ConfigKey::S3Endpoint),
    ("AWS_ENDPOINT_URL", AmazonS3ConfigKey::Endpoint),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    ("AWS_METADATA_ENDPOINT", AmazonS3ConfigKey::MetadataEndpoint),
];

/// The store at `bucket/prefix`, with what `builder` knows from elsewhere.
pub(super) fn open(
    rest: &str,
    settings: &StoreSettings,
    builder: AmazonS3Builder,
    patience: Patience,
) -> Result<Store> {
    let (bucket, prefix) = bucket_and_prefix(rest)?;
    for (name, key, remedy) in UNSAFE {
        network::refuse_unsafe(name, builder.get_config_value(&key).as_deref(), remedy)?;
    }
    for (name, key) in ADDRESSES {
        network::refuse_secret(name, builder.get_config_value(&key).as_deref())?;
    }
    let network = Network::new(settings, patience)?;
    let mut builder = builder
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // The only delete is that of a probe, and not every store deletes several at once.
        .with_disable_bulk_delete(true)
        .with_retry(network::retry(patience))
        .with_http_connector(network.clone());
    for (key, value) in network::client(settings, patience) {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    let builder = writing(addressed(builder, settings, bucket)?, settings);
    refuse_plain(&builder)?;
    let told = FROM_ENVIRONMENT.into_iter().fold(ClientOptions::new(), |options, key| {
        match builder.get_config_value(&AmazonS3ConfigKey::Client(key)) {
            Some(value) => options.with_config(key, value),
            None => options,
        }
    });
    let builder = match Profile::asked_for(settings, &builder, &network, &told)? {
        Some(profile) => builder.with_credentials(Arc::new(profile)),
        None => source::of_aws(builder, &network, patience)?,
    };
    let s3 = builder.clone().build()?;
    let http = network.connect(&told)?;
    let again = Arc::new(move || Ok(Arc::new(builder.clone().build()?) as Arc<dyn ObjectStore>));
    let remote = Remote { witness: network.witness, http, s3: Some(s3.clone()), again };
    Store::of_bucket(Arc::new(s3), ("s3", bucket, prefix), settings, (patience, remote))
}

/// Where the bucket is.
fn addressed(
    mut builder: AmazonS3Builder,
    settings: &StoreSettings,
    bucket: &str,
) -> Result<AmazonS3Builder> {
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    let Some(path_style) = settings.path_style else {
        return Ok(match &settings.endpoint {
            Some(endpoint) => at(builder, endpoint),
            None => builder,
        });
    };
    if let Some(endpoint) = settings.endpoint.clone().or_else(|| endpoint(&builder)) {
        // The client takes a host style's endpoint for the bucket's own.
        let endpoint = if path_style { endpoint } else { with_host(&endpoint, bucket)? };
        builder = at(builder, &endpoint);
    }
    Ok(builder.with_virtual_hosted_style_request(!path_style))
}

/// Where the bucket is said to be, if it is not where AWS is.
pub(super) fn endpoint(builder: &AmazonS3Builder) -> Option<String> {
    [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
        .iter()
        .find_map(|key| builder.get_config_value(key))
}

/// Says in words what the client would refuse as a scheme.
fn refuse_plain(builder: &AmazonS3Builder) -> Result<()> {
    let allowed = builder.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    match endpoint(builder) {
        Some(endpoint) if endpoint.starts_with("http://") && !network::is_true(allowed.as_deref()) => {
            Err(Error::new(ErrorKind::Config, format!("`{}` is plain http", shown(&endpoint)))
                .remedy("use https, or set `allow_http` where nobody listens between"))
        }
        _ => Ok(()),
    }
}

fn at(builder: AmazonS3Builder, endpoint: &str) -> AmazonS3Builder {
    // The more special of the two keys wins, and the environment may hold either.
    builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint)
}

/// `endpoint` with the bucket before its host.
fn with_host(endpoint: &str, bucket: &str) -> Result<String> {
    let refuse = |why: String| {
        Error::new(ErrorKind::Config, format!("store.endpoint `{}`: {why}", shown(endpoint)))
            .remedy("write it like https://s3.example.com")
    };
    let mut url = url::Url::parse(endpoint).map_err(|cause| refuse(cause.to_string()))?;
    let host = url.host_str().ok_or_else(|| refuse("it names no host".to_owned()))?;
    let host = format!("{bucket}.{host}");
    url.set_host(Some(&host)).map_err(|cause| refuse(format!("with the host `{host}`: {cause}")))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// How objects are written.
fn writing(mut builder: AmazonS3Builder, settings: &StoreSettings) -> AmazonS3Builder {
    builder = match settings.checksum {
        config::Checksum::Sha256 => builder.with_checksum_algorithm(Checksum::SHA256),
        config::Checksum::Crc64nvme => builder.with_checksum_algorithm(Checksum::CRC64NVME),
        config::Checksum::None => builder,
    };
    let said: [(&str, Option<&str>); 3] = [
        (
            "aws_server_side_encryption",
            settings.sse.map(|sse| match sse {
                Sse::S3 => "AES256",
                Sse::Kms => "aws:kms",
            }),
        ),
        ("aws_sse_kms_key_id", settings.kms_key_id.as_deref()),
        (
            "aws_sse_bucket_key_enabled",
            settings.bucket_key.map(|enabled| if enabled { "true" } else { "false" }),
        ),
    ];
    for (name, value) in said {
        // The keys' own type is not public.
        if let (Ok(key), Some(value)) = (name.parse::<AmazonS3ConfigKey>(), value) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_protection_away_is_refused_by_name() {
        for (name, key, _) in UNSAFE {
            for (value, refused) in
                [("true", true), ("1", true), ("TRUE", true), ("false", false), ("0", false)]
            {
                let builder =
                    AmazonS3Builder::new().with_access_key_id("key").with_secret_access_key("secret");
                let builder = builder.with_region("us-east-1").with_config(key, value);
                let opened = open("b/p", &StoreSettings::default(), builder, Patience::default());
                match opened {
                    Ok(_) => assert!(!refused, "{name} = {value} is obeyed"),
                    Err(error) => {
                        assert!(refused && error.kind() == ErrorKind::Config, "{name} = {value}: {error}");
                        assert!(
                            error.to_string().contains(name) && error.remedy_text().is_some(),
                            "{error:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn an_address_of_the_environment_that_may_hold_a_secret_is_refused_and_not_repeated() {
        for (name, key) in ADDRESSES {
            for address in
                ["http://me:canary@host", "https://canary@host", "https://host/?sig=canary", "me:canary@host"]
            {
                let builder = AmazonS3Builder::new().with_region("us-east-1").with_config(key, address);
                let error =
                    open("b/p", &StoreSettings::default(), builder, Patience::default()).expect_err(name);
                assert_eq!(error.kind(), ErrorKind::Config, "{name}: {error}");
                assert!(error.to_string().contains(name), "{error}");
                assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
            }
        }
    }

    #[test]
    fn the_bucket_goes_before_the_host() {
        for (endpoint, expected) in [
            ("https://s3.example.com", "https://b.s3.example.com"),
            ("http://s3.example.com:9000/", "http://b.s3.example.com:9000"),
        ] {
            assert_eq!(with_host(endpoint, "b").expect("a host"), expected);
        }
        for endpoint in ["s3.example.com", "unix:/run/s3"] {
            assert_eq!(with_host(endpoint, "b").expect_err(endpoint).kind(), ErrorKind::Config);
        }
    }
}
