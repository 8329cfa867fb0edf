//! What a run needs of this machine, and what is told of runs: the files that the settings name for it.
//!
//! Rule: no telling fails a run, so what is amiss is said and is not wrong; but for the token of the status server, without
//! which no daemon starts. Nothing is sent.

use url::Url;

use crate::cli::check::{Line, told as line, tried};
use crate::config::{Config, Listen, Organization};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::Found;
use crate::telemetry::{try_file, try_token};

/// Tries the folder in which a run keeps its lock, and sorts what it reads.
pub(super) fn scratch() -> Line {
    let folder = std::env::temp_dir();
    let made =
        tempfile::NamedTempFile::new_in(&folder).map(|_| format!("{} can be written", folder.display()));
    tried(
        "scratch folder",
        made.map_err(|cause| {
            Error::new(ErrorKind::Config, format!("write in {}: {cause}", folder.display()))
                .remedy("set TMPDIR to a folder this user may write to")
        }),
    )
}

/// Tries those that are set.
pub(super) async fn told(config: &Config, organization: &Organization) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(address("heartbeat", organization.heartbeat().find()));
    lines.extend(address("pushgateway", config.metrics.pushgateway()));
    if let Some(path) = &config.metrics.textfile {
        let found = match try_file(path) {
            Ok(()) => good("can be written"),
            Err(cause) => amiss(
                format!("{} cannot be written: {cause}", path.display()),
                "let the service's user write its folder, and the `.lock` beside it; until then runs tell no metrics there",
            ),
        };
        lines.push(line("metrics file", Ok(found)));
    }
    if lines.is_empty() {
        let says = "neither a heartbeat nor a Pushgateway nor a metrics file is set: only a daemon tells, to whoever asks it";
        let better = "set heartbeat_url_file, or pushgateway_url_file or textfile of [metrics]: of what a timer, a CronJob or a \
                      person starts, new gaps and failures are told by the exit code and the log alone";
        lines.push(line("watch", Ok(amiss(says.to_owned(), better))));
    }
    if let (Listen::At(_), Some(path)) = (config.status.listen, &config.status.token_file) {
        lines.push(tried("status token", try_token(path).await.map(|()| "can be read".to_owned())));
    }
    lines
}

/// An address that is told of runs, if there is one.
fn address(what: &str, found: Result<Option<Url>>) -> Option<Line> {
    let found = match found {
        Ok(address) => address.map(|_| good("its address can be read"))?,
        Err(error) => amiss(
            error.to_string(),
            "let a file that the service's user can read hold a whole address; until then runs go on, and it is told nothing",
        ),
    };
    Some(line(what, Ok(found)))
}

fn good(says: &str) -> Found {
    Found { says: says.to_owned(), better: None }
}

fn amiss(says: String, better: &str) -> Found {
    Found { says, better: Some(better.to_owned()) }
}
