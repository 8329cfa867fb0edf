//! The Asana token.
//!
//! Rule: the token is shown to nobody. `Debug` prints `***`, the header that carries it is marked sensitive, and no
//! error repeats it. A token from a file can be replaced while the program runs: the file is read again when Asana
//! refuses what it held.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, ErrorKind, Result};

/// A token for Asana, and where to read it again. Clones share it.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    file: Option<PathBuf>,
    current: RwLock<SecretString>,
}

impl Token {
    /// A token that cannot be read again.
    pub fn fixed(token: &SecretString) -> Result<Self> {
        Ok(Self(Arc::new(Inner { file: None, current: RwLock::new(checked(token.expose_secret())?) })))
    }

    /// The token in `file`, without the white space around it.
    pub fn from_file(file: impl Into<PathBuf>) -> Result<Self> {
        let file = file.into();
        let token = read(&file)?;
        Ok(Self(Arc::new(Inner { file: Some(file), current: RwLock::new(token) })))
    }

    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> HeaderValue {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        let mut header = HeaderValue::from_str(&format!("Bearer {}", current.expose_secret()))
            .expect("a checked token fits a header");
        header.set_sensitive(true);
        header
    }

    /// Reads the file again, if there is one. A file that cannot be read changes nothing: what Asana says of the
    /// token we have is the better error.
    pub(super) fn read_again(&self) {
        let Some(Ok(token)) = self.0.file.as_deref().map(read) else { return };
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn read(file: &Path) -> Result<SecretString> {
    let doing = || format!("read the token from {}", file.display());
    let text = std::fs::read_to_string(file)
        .map_err(|cause| Error::new(ErrorKind::Config, cause.kind().to_string()).doing(doing()))?;
    checked(&text).map_err(|error| error.doing(doing()))
}

fn checked(text: &str) -> Result<SecretString> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::new(ErrorKind::Config, "the token is empty or has characters that no token has")
            .remedy("copy the token from Asana again, alone on one line"));
    }
    Ok(SecretString::from(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_to_nobody() {
        let token = Token::fixed(&SecretString::from(" 2/canary\n")).expect("a good token");
        assert_eq!(format!("{token:?} {:?}", token.header()), "*** Sensitive");
        assert_eq!(token.header().to_str().expect("text"), "Bearer 2/canary");
    }

    #[test]
    fn a_token_that_fits_no_header_is_a_setting_to_change() {
        for text in ["", "  \n", "can ary", "canary\nsecond", "canary\u{7f}", "canäry"] {
            let error = Token::fixed(&SecretString::from(text)).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.to_string().contains("canary"));
        }
        let missing = Token::from_file("/no/such/file").expect_err("no file");
        assert_eq!(missing.to_string(), "read the token from /no/such/file: entity not found");
    }
}
