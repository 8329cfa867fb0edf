//! The Asana token.
//!
//! Rule: the token is shown to nobody. `Debug` prints `***`, the header that carries it is marked sensitive, no error
//! repeats it, and the memory that holds it is wiped when the last request with it is over.
//!
//! A token from a file can be replaced while the program runs, and no run fails of it. The file is looked at, not read,
//! once a second at most, before a request: another inode, length or time means another content (Kubernetes swaps a
//! symbolic link above it). A file that is missing or half written changes nothing, and is looked at again. A token that
//! worked and is refused was replaced, or soon will be: then the file has [`PATIENCE`] to bring another. What a new token
//! may not do is speak for somebody else in the middle of a run: see [`Identity`](super::identity::Identity).

use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep};

use crate::error::{Error, ErrorKind, Result};

/// How often the file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a token that worked and is refused may wait for another. Kubernetes brings a changed Secret to its pods
/// within a minute, and what its caches take ("Secrets", section "Mounted Secrets are updated automatically", read
/// 2026-11).
const PATIENCE: Duration = Duration::from_secs(120);
/// The longest token, in bytes; Asana's have less than a hundred. What is longer is some other file.
const LONGEST: u64 = 4 << 10;

/// A token for Asana, and where to read it again. Clones share it.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    file: Option<PathBuf>,
    held: Mutex<Held>,
}

struct Held {
    bearer: Bearer,
    /// The file when it was read.
    read: Option<Stamp>,
    looked_at: Instant,
    /// Whether Asana has ever accepted what the file held.
    worked: bool,
    /// Since when the token is refused.
    refused_at: Option<Instant>,
}

/// What a request shows, and the how manieth token that is.
#[derive(Clone)]
pub(super) struct Bearer {
    /// The value of the `Authorization` header.
    pub header: HeaderValue,
    pub number: u64,
}

/// What differs where a file was written again or replaced: device, inode, length, and the times of content and inode.
type Stamp = (u64, u64, u64, [i64; 4]);

impl Token {
    /// A token that cannot be read again.
    pub fn fixed(token: &SecretString) -> Result<Self> {
        Ok(Self::holding(None, header(token.expose_secret())?, None))
    }

    /// The token in `file`, without the white space around it.
    pub fn from_file(file: impl Into<PathBuf>) -> Result<Self> {
        let file = file.into();
        let (header, stamp) = read(&file)?;
        Ok(Self::holding(Some(file), header, Some(stamp)))
    }

    fn holding(file: Option<PathBuf>, header: HeaderValue, read: Option<Stamp>) -> Self {
        let bearer = Bearer { header, number: 0 };
        let held = Held { bearer, read, looked_at: Instant::now(), worked: false, refused_at: None };
        Self(Arc::new(Inner { file, held: Mutex::new(held) }))
    }

    /// What the next request shows.
    pub(super) fn bearer(&self) -> Bearer {
        let mut held = self.held();
        if let Some(file) = &self.0.file
            && held.looked_at.elapsed() >= LOOK_EVERY
        {
            held.look(file);
        }
        held.bearer.clone()
    }

    /// Asana has accepted token `number`.
    pub(super) fn accepted(&self, number: u64) {
        let mut held = self.held();
        held.worked = true;
        if held.bearer.number == number {
            held.refused_at = None;
        }
    }

    /// Asana has refused token `number`: reads the file again, if there is one, and says whether there is another token
    /// by now. A file that cannot be read changes nothing: what Asana says of the token we have is the better error.
    pub(super) fn refused(&self, number: u64) -> bool {
        let mut held = self.held();
        if let Some(file) = &self.0.file
            && held.bearer.number == number
        {
            held.refused_at.get_or_insert_with(Instant::now);
            held.read = None;
            held.look(file);
        }
        held.bearer.number != number
    }

    /// Waits for another token than `number`; says whether one came in time.
    pub(super) async fn another(&self, number: u64) -> bool {
        loop {
            if self.bearer().number != number {
                return true;
            }
            let waits = {
                let held = self.held();
                let since = held.refused_at.map_or(Duration::ZERO, |since| since.elapsed());
                self.0.file.is_some() && held.worked && since < PATIENCE
            };
            if !waits {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Reads `file` if it is not the one that was read.
    fn look(&mut self, file: &Path) {
        self.looked_at = Instant::now();
        let is_read = |file: &Metadata| self.read == Some(stamp(file));
        if std::fs::metadata(file).is_ok_and(|file| is_read(&file)) {
            return;
        }
        // What cannot be read is half written, or on its way: it is looked at again.
        let Ok((header, stamp)) = read(file) else { return };
        self.read = Some(stamp);
        if header != self.bearer.header {
            self.bearer = Bearer { header, number: self.bearer.number + 1 };
            self.refused_at = None;
            tracing::info!("the token file holds another token");
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn stamp(file: &Metadata) -> Stamp {
    let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
    (file.dev(), file.ino(), file.len(), times)
}

/// Reads a token. The stamp is from before: whoever writes meanwhile changes it.
fn read(file: &Path) -> Result<(HeaderValue, Stamp)> {
    let doing = |error: Error| error.doing(format!("read the token from {}", file.display()));
    let failed = |cause: std::io::Error| doing(Error::new(ErrorKind::Config, cause.kind().to_string()));
    let mut opened = File::open(file).map_err(failed)?;
    let stamp = stamp(&opened.metadata().map_err(failed)?);
    // Room for all of it, so that nothing is left behind in memory by growing.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize + 1));
    (&mut opened).take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
    Ok((header(&text).map_err(doing)?, stamp))
}

/// The header that carries a token, over memory that is wiped.
fn header(text: &str) -> Result<HeaderValue> {
    let token = text.trim();
    if token.is_empty() || text.len() as u64 > LONGEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::new(ErrorKind::Config, "the token is empty or has characters that no token has")
            .remedy("copy the token from Asana again, alone on one line"));
    }
    let mut value = Zeroizing::new(Vec::with_capacity("Bearer ".len() + token.len()));
    value.extend_from_slice(b"Bearer ");
    value.extend_from_slice(token.as_bytes());
    let mut header =
        HeaderValue::from_maybe_shared(Bytes::from_owner(value)).expect("a checked token fits a header");
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_to_nobody() {
        let token = Token::fixed(&SecretString::from(" 2/canary\n")).expect("a good token");
        let shown = token.bearer().header;
        assert_eq!(format!("{token:?} {shown:?}"), "*** Sensitive");
        assert_eq!(shown.to_str().expect("text"), "Bearer 2/canary");
    }

    #[test]
    fn a_token_that_fits_no_header_is_a_setting_to_change() {
        let long = "canary".repeat(1_000);
        for text in ["", "  \n", "can ary", "canary\nsecond", "canary\u{7f}", "canäry", &long] {
            let error = Token::fixed(&SecretString::from(text)).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.to_string().contains("canary"));
        }
        let missing = Token::from_file("/no/such/file").expect_err("no file");
        assert_eq!(missing.to_string(), "read the token from /no/such/file: entity not found");
    }
}
