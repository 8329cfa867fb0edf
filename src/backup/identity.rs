//! Who the token is, and whether this machine's clock is right: what a run must know before it writes anything.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::asana::{Answer, Client};
use crate::clock::Offset;
use crate::error::{Error, ErrorKind, Result};
use crate::model::TokenIdentity;

#[derive(Deserialize)]
struct Me {
    gid: String,
    #[serde(default)]
    name: String,
}

/// Asks who the token is; from here on the client asks for nobody else. Refuses where this machine's clock is far off
/// Asana's: a run begins with this, before it writes anything.
pub async fn identify(client: &Client) -> Result<TokenIdentity> {
    match client.identify().await? {
        Answer::Found(found) => {
            client.statistics().clock_offset.map_or(Ok(()), Offset::judge)?;
            let me: Me = serde_json::from_str(found.data.get())
                .map_err(|_| Error::new(ErrorKind::Unavailable, "`/users/me` answered no user"))?;
            Ok(TokenIdentity { gid: me.gid, name: me.name, probes: BTreeMap::new() })
        }
        Answer::Refused(refusal) => Err(refusal.of_token()),
    }
}
