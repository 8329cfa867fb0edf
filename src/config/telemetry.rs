//! Settings of what watches the program: metrics, the status server and heartbeats.
//!
//! Rule: an address that is a secret, because whoever knows it may write there, prints as `***`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// An address that nobody else may know.
#[derive(Clone)]
pub struct SecretUrl(SecretString);

impl SecretUrl {
    /// The address; an error names `what` and never the address.
    pub fn url(&self, what: &str) -> Result<Url> {
        let refuse = |why: &str| {
            Error::new(ErrorKind::Config, format!("{what} {why}"))
                .remedy("give a whole address, such as https://example.com/ping/1234")
        };
        let url = Url::parse(self.0.expose_secret().trim())
            .map_err(|cause| refuse(&format!("is no address: {cause}")))?;
        if !["http", "https"].contains(&url.scheme()) || url.host().is_none() {
            return Err(refuse("is neither http:// nor https://"));
        }
        Ok(url)
    }

    /// What the settings say, in the text or in the file that they name.
    fn find(what: &str, text: Option<&Self>, file: Option<&Path>) -> Result<Option<Url>> {
        if let Some(text) = text {
            return text.url(what).map(Some);
        }
        let Some(file) = file else { return Ok(None) };
        let read = std::fs::read_to_string(file).map_err(|cause| {
            Error::new(ErrorKind::Config, format!("read {}: {cause}", file.display()))
                .doing(format!("read {what}"))
        })?;
        Self(read.into()).url(what).map(Some)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PartialEq for SecretUrl {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for SecretUrl {}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// Where the address of an organization's heartbeat is.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatSettings<'a> {
    /// The address itself.
    pub url: Option<&'a SecretUrl>,
    /// The file that holds it.
    pub file: Option<&'a Path>,
}

impl HeartbeatSettings<'_> {
    /// The address to ping, if there is one.
    pub fn find(self) -> Result<Option<Url>> {
        SecretUrl::find("the heartbeat's address", self.url, self.file)
    }
}

/// Where metrics go, beside the status server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// The file to keep them in, for the textfile collector of Prometheus' node exporter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub textfile: Option<PathBuf>,
    /// The Pushgateway to push them to after each run. May hold a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushgateway_url: Option<SecretUrl>,
    /// The file that holds its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushgateway_url_file: Option<PathBuf>,
}

impl MetricsSettings {
    /// The Pushgateway's address, if there is one.
    pub fn pushgateway(&self) -> Result<Option<Url>> {
        let (text, file) = (self.pushgateway_url.as_ref(), self.pushgateway_url_file.as_deref());
        SecretUrl::find("the Pushgateway's address", text, file)
    }
}

/// Where the daemon tells how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusSettings {
    /// The address to listen on, or `off`. Only this machine can reach the default; 9464 is what exporters of
    /// OpenTelemetry use.
    pub listen: Listen,
    /// The file that holds the token which whoever asks must bear. Needed where other machines can reach the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

impl Default for StatusSettings {
    fn default() -> Self {
        Self { listen: Listen::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464)), token_file: None }
    }
}

impl StatusSettings {
    /// Refuses to be reached by other machines without a token.
    pub fn check(&self) -> Result<()> {
        match self.listen {
            Listen::At(address)
                if !address.ip().to_canonical().is_loopback() && self.token_file.is_none() =>
            {
                Err(Error::new(
                    ErrorKind::Config,
                    format!("status.listen: other machines can reach {address}, and no token is asked for"),
                )
                .remedy("set status.token_file, or listen on 127.0.0.1"))
            }
            _ => Ok(()),
        }
    }
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = text.parse().map(Self::At);
        address.map_err(|_| format!("`{text}` is neither `off` nor an address such as 127.0.0.1:9464"))
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        match listen {
            Listen::Off => "off".to_owned(),
            Listen::At(address) => address.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(listen: &str, token: bool) -> Result<()> {
        let listen = Listen::try_from(listen.to_owned()).expect("an address");
        StatusSettings { listen, token_file: token.then(|| "t".into()) }.check()
    }

    #[test]
    fn what_other_machines_can_reach_needs_a_token() {
        for near in ["off", "127.0.0.1:9464", "127.8.8.8:1", "[::1]:9464", "[::ffff:127.0.0.1]:9464"] {
            assert!(status(near, false).is_ok(), "{near}");
        }
        for far in ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464", "[::ffff:10.0.0.1]:1"] {
            let refused = status(far, false).expect_err(far);
            assert_eq!(refused.kind(), ErrorKind::Config);
            assert!(status(far, true).is_ok(), "{far}");
        }
        assert!(Listen::try_from("localhost".to_owned()).is_err());
    }

    #[test]
    fn a_secret_address_is_never_printed_also_not_when_it_is_wrong() {
        let settings: MetricsSettings =
            toml::from_str("pushgateway_url = 'gopher://canary@host/canary'").expect("settings");
        assert!(!format!("{settings:?}").contains("canary"));
        assert!(!serde_json::to_string(&settings).expect("JSON").contains("canary"));
        let error = settings.pushgateway().expect_err("no such scheme");
        assert!(!error.to_string().contains("canary"), "{error}");
        let secret = SecretUrl("canary".to_owned().into());
        assert!(!secret.url("it").expect_err("no address").to_string().contains("canary"));
    }

    #[test]
    fn an_address_in_a_file_may_end_with_a_line() {
        let found =
            SecretUrl("https://example.com/ping/1\n".to_owned().into()).url("it").expect("an address");
        assert_eq!(found.path(), "/ping/1");
    }
}
