//! Who the token is.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::asana::{Answer, Client};
use crate::error::{Error, ErrorKind, Result};
use crate::model::TokenIdentity;

#[derive(Deserialize)]
struct Me {
    gid: String,
    #[serde(default)]
    name: String,
}

/// Asks `/users/me`; from here on the client asks for nobody else.
pub(super) async fn of(client: &Client) -> Result<TokenIdentity> {
    match client.identify().await? {
        Answer::Found(found) => {
            let me: Me = serde_json::from_str(found.data.get())
                .map_err(|_| Error::new(ErrorKind::Unavailable, "`/users/me` answered no user"))?;
            Ok(TokenIdentity { gid: me.gid, name: me.name, probes: BTreeMap::new() })
        }
        Answer::Refused(refusal) => Err(refusal.of_token()),
    }
}
