//! A bucket of Google Cloud Storage.
//!
//! Rule: as for any bucket; the condition of a create is called `x-goog-if-generation-match: 0` here. Credentials are
//! found as Google's own programs find them.

use std::sync::Arc;

use object_store::client::{ClientConfigKey, HttpConnector as _};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientOptions, ObjectStore};

use super::bucket::Remote;
use super::network::{self, Network};
use super::{Patience, Store, bucket_and_prefix, source};
use crate::config::StoreSettings;
use crate::error::Result;

/// The store at `bucket/prefix`, with what `builder` knows from elsewhere.
pub(super) fn open(
    rest: &str,
    settings: &StoreSettings,
    builder: GoogleCloudStorageBuilder,
    patience: Patience,
) -> Result<Store> {
    let (bucket, prefix) = bucket_and_prefix(rest)?;
    let said = |key| builder.get_config_value(&key);
    network::refuse_unsafe(
        "GOOGLE_ALLOW_INVALID_CERTIFICATES",
        said(GoogleConfigKey::Client(ClientConfigKey::AllowInvalidCertificates)).as_deref(),
        network::INSTEAD_OF_ANY,
    )?;
    network::refuse_unsafe(
        "GOOGLE_SKIP_SIGNATURE",
        said(GoogleConfigKey::SkipSignature).as_deref(),
        network::INSTEAD_OF_UNSIGNED,
    )?;
    network::refuse_secret("GOOGLE_BASE_URL", said(GoogleConfigKey::BaseUrl).as_deref())?;
    let network = Network::new(settings, patience)?;
    let mut builder = builder
        .with_bucket_name(bucket)
        .with_retry(network::retry(patience))
        .with_http_connector(network.clone());
    let mut options = ClientOptions::new();
    for (key, value) in network::client(settings, patience) {
        builder = builder.with_config(GoogleConfigKey::Client(key), value.clone());
        options = options.with_config(key, value);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let builder = source::of_google(builder, &network, patience)?;
    let gcs = Arc::new(builder.clone().build()?);
    let again = Arc::new(move || Ok(Arc::new(builder.clone().build()?) as Arc<dyn ObjectStore>));
    let http = network.connect(&options)?;
    let remote = Remote { witness: network.witness, http, s3: None, again };
    Store::of_bucket(gcs, ("gs", bucket, prefix), settings, (patience, remote))
}
