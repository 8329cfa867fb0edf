//! Offset tokens: opaque, bound to their query, and short-lived.
//!
//! Rule: a token says how many rows to skip. So an edit that reorders or shortens the list between two pages doubles
//! or skips rows, as it does at Asana.

use super::{Call, Refusal};
use crate::random::mix;

/// What Asana's tokens begin with: they are JSON Web Tokens.
const HEAD: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9";

/// The list a token is good for.
fn binding(call: &Call<'_>) -> u64 {
    let text = format!("{}?{}", call.path, call.query.identity());
    let number = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(call.view.world.seed, 0x0ff5e7 + call.offsets, number)
}

/// The token for the rows after the first `skip`.
pub(crate) fn write(call: &Call<'_>, skip: usize) -> String {
    let key = binding(call);
    let (now, skip) = (call.now as u64, skip as u64);
    let sealed = mix(key, now, skip);
    format!("{HEAD}.{:016x}{:08x}.{sealed:016x}", now ^ key, skip ^ (key >> 32))
}

/// How many rows to skip.
pub(crate) fn read(call: &Call<'_>, token: &str) -> Result<usize, Refusal> {
    let (now, skip) =
        open(call, token).ok_or_else(|| Refusal::bad("offset: Your pagination token is invalid."))?;
    let ttl = call.rules.offset_ttl.as_millis() as i64;
    if call.now - now as i64 > ttl {
        return Err(Refusal::bad("offset: Your pagination token has expired."));
    }
    Ok(skip as usize)
}

fn open(call: &Call<'_>, token: &str) -> Option<(u64, u64)> {
    let rest = token.strip_prefix(HEAD)?.strip_prefix('.')?;
    let (body, seal) = rest.split_once('.')?;
    let key = binding(call);
    let now = u64::from_str_radix(body.get(..16)?, 16).ok()? ^ key;
    let skip = u64::from_str_radix(body.get(16..)?, 16).ok()? ^ (key >> 32);
    (u64::from_str_radix(seal, 16).ok()? == mix(key, now, skip)).then_some((now, skip))
}
