//! What systemd is told: that the daemon is ready, what it does, that it is alive, that it stops.
//!
//! Rule: nothing is said where nobody listens, and nobody is waited for: a message that cannot be sent is lost. `WATCHDOG=1`
//! is said only while the loop turns and every job gets on, so a daemon that hangs is started anew.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::daemon::Watch;
use crate::daemon::jobs::JobId;

/// How long a stop may take in which a run lays its work down.
const EXTENSION: Duration = Duration::from_secs(10);

/// Whom to tell.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Within which time systemd wants a sign of life.
    watchdog: Option<Duration>,
    last_status: String,
}

impl Notify {
    /// Whom the environment names, as sd_notify(3) and sd_watchdog_enabled(3) say.
    #[must_use]
    pub fn from_environment() -> Self {
        let of_us =
            std::env::var("WATCHDOG_PID").ok().is_none_or(|pid| pid == std::process::id().to_string());
        let usec = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let watchdog = usec.filter(|usec| of_us && *usec > 0).map(Duration::from_micros);
        Self::to(std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from), watchdog)
    }

    /// The socket at `path`, whose listener wants a sign of life within `watchdog`. A path that begins with `@` is a name
    /// in no folder.
    #[must_use]
    pub fn to(path: Option<PathBuf>, watchdog: Option<Duration>) -> Self {
        let socket = path.filter(|path| !path.as_os_str().is_empty()).and_then(|path| {
            let address = address(&path)?;
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, address))
        });
        Self { socket, watchdog, last_status: String::new() }
    }

    /// Within which time a sign of life is wanted, if any is.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.socket.is_some())
    }

    /// Everything was tried, and the first jobs may begin; or the settings are read again.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The settings are about to be read again.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let microseconds = now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// What is being done, in words; said when it is something else than before.
    pub fn status(&mut self, text: &str) {
        if self.last_status != text {
            text.clone_into(&mut self.last_status);
            self.send(&format!("STATUS={}", text.replace('\n', " ")));
        }
    }

    /// A sign of life.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// The end is near, and takes a moment.
    pub fn stopping(&self) {
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros()));
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(cause) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!(%cause, "nobody was told");
        }
    }
}

fn address(path: &std::path::Path) -> Option<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = path.as_os_str().as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name).ok();
    }
    SocketAddr::from_pathname(path).ok()
}

/// Whether jobs get on.
#[derive(Debug)]
pub(super) struct Pulse {
    patience: Duration,
    seen: HashMap<JobId, Seen>,
}

/// How far a job was, since when, and whether that was called stuck.
#[derive(Clone, Copy, Debug)]
struct Seen {
    mark: u64,
    since: Instant,
    is_stuck: bool,
}

impl Pulse {
    /// Calls a job stuck that did nothing for `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, seen: HashMap::new() }
    }

    /// Whether all of `running` get on. One that keeps still because Asana asked for patience does.
    pub(super) fn beats<'a>(&mut self, running: impl Iterator<Item = (JobId, &'a str, &'a Watch)>) -> bool {
        let now = Instant::now();
        let mut fresh = HashMap::new();
        let mut all = true;
        for (id, name, watch) in running {
            let mark = watch.mark();
            let gets_on = Seen { mark, since: now, is_stuck: false };
            let mut seen = match self.seen.get(&id) {
                Some(before) if before.mark == mark && !watch.stands_still() => *before,
                _ => gets_on,
            };
            if now - seen.since >= self.patience {
                // Once; the watchdog counts on.
                if !seen.is_stuck {
                    tracing::warn!(organization = name, "the job does not get on");
                }
                (seen.is_stuck, all) = (true, false);
            }
            fresh.insert(id, seen);
        }
        self.seen = fresh;
        all
    }
}
