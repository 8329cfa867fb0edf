//! A run, as those who watch it see it: where it begins, while it lasts, and where it ends.
//!
//! Rule: everything that is told about a run is told here, once, whoever started it. Nothing that goes wrong on the way
//! out is the run's business: it is said once, and the end of a run waits for seconds at most. A process that is killed
//! tells nothing: that the last success grows old is what shows it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::timeout;
use ulid::Ulid;
use url::Url;

use crate::config::MetricsSettings;
use crate::error::Result;
use crate::telemetry::heartbeat::Heartbeat;
use crate::telemetry::metrics::{Metrics, Sample, Watch};
use crate::telemetry::post::Post;
use crate::telemetry::push;
use crate::telemetry::table::{self, Metric};
use crate::telemetry::textfile;

/// Longest time that the end of a run waits for the file or the gateway.
const LONGEST: Duration = Duration::from_secs(3);

/// Where this process tells how its runs go. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Outlets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    post: Post,
    settings: MetricsSettings,
    /// What the file has of this process's numbers.
    written: Mutex<Vec<Sample>>,
}

/// A run that begins.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// The organization's name in the settings.
    pub organization: &'a str,
    /// The process's id of the run.
    pub run: Ulid,
    /// Where to ping.
    pub heartbeat: Option<Url>,
    /// When it begins.
    pub at: DateTime<Utc>,
}

impl Outlets {
    /// What the settings name.
    pub fn new(settings: &MetricsSettings, metrics: Metrics) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            metrics,
            post: Post::new()?,
            settings: settings.clone(),
            written: Mutex::default(),
        })))
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Begins to watch a run; `live` is asked what it counts, while it lasts.
    #[must_use]
    pub fn begin(
        &self,
        beginning: Beginning<'_>,
        live: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) -> Watched {
        let Beginning { organization, run, heartbeat, at } = beginning;
        let metrics = self.0.metrics.clone();
        metrics.tell(&table::BUILD_INFO, &[organization, env!("CARGO_PKG_VERSION")], 1.0);
        metrics.tell(&table::LAST_ATTEMPT, &[organization], seconds(at));
        let watch = metrics.watch(live);
        let start = |url| Heartbeat::start(self.0.post.clone(), url, run, organization, metrics);
        let heartbeat = heartbeat.map(start);
        Watched {
            outlets: self.clone(),
            organization: organization.to_owned(),
            began_at: at,
            heartbeat,
            watch,
        }
    }

    /// Tells how a verification ended.
    pub async fn verified(&self, organization: &str, code: u8, at: DateTime<Utc>) {
        let metrics = &self.0.metrics;
        metrics.tell(&table::BUILD_INFO, &[organization, env!("CARGO_PKG_VERSION")], 1.0);
        metrics.tell(&table::LAST_VERIFY_EXIT_CODE, &[organization], f64::from(code));
        if code == 0 {
            metrics.tell(&table::LAST_VERIFIED, &[organization], seconds(at));
        }
        self.deliver(organization).await;
    }

    /// Writes and pushes what there is.
    async fn deliver(&self, organization: &str) {
        let file = async {
            if let Some(path) = &self.0.settings.textfile {
                self.write(path.clone()).await;
            }
        };
        tokio::join!(file, self.push(organization));
    }

    async fn push(&self, organization: &str) {
        // Looked for anew each time: a file that was not there yet is no reason to push nothing from then on.
        let gateway = match self.0.settings.pushgateway() {
            Ok(Some(gateway)) => gateway,
            Ok(None) => return,
            Err(error) => return tracing::warn!(organization, %error, "metrics not pushed"),
        };
        let samples = self.0.metrics.lasting();
        let push = push::push(&self.0.post, &gateway, organization, &samples);
        let pushed = timeout(LONGEST, push).await.unwrap_or_else(|_| Err("given up".to_owned()));
        if let Err(why) = pushed {
            tracing::warn!(organization, why, "metrics not pushed");
        }
    }

    async fn write(&self, path: PathBuf) {
        let inner = Arc::clone(&self.0);
        let shown = path.display().to_string();
        let write = tokio::task::spawn_blocking(move || {
            let mut written = inner.written.lock().unwrap_or_else(PoisonError::into_inner);
            // Asked for under the lock, so that of two jobs that end at once the file keeps the later numbers.
            let samples = inner.metrics.lasting();
            textfile::write(&path, &samples, &written).map(|()| *written = samples)
        });
        let why = match timeout(LONGEST, write).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(cause))) => cause.to_string(),
            Ok(Err(cause)) => cause.to_string(),
            Err(_) => "given up".to_owned(),
        };
        tracing::warn!(file = shown, why, "metrics not written");
    }
}

/// A run that is under way.
#[derive(Debug)]
pub struct Watched {
    outlets: Outlets,
    organization: String,
    began_at: DateTime<Utc>,
    heartbeat: Option<Heartbeat>,
    watch: Watch,
}

impl Watched {
    /// Sets a gauge of the organization that has no other label, or adds to such a counter.
    pub fn tell(&self, metric: &'static Metric, value: f64) {
        self.outlets.0.metrics.tell(metric, &[&self.organization], value);
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.outlets.0.metrics
    }

    /// Tells that the run is over; `said` is for a person, and holds no secret.
    pub async fn end(self, code: u8, said: &str, at: DateTime<Utc>) {
        self.tell(&table::LAST_EXIT_CODE, f64::from(code));
        let took = (at - self.began_at).to_std().unwrap_or_default();
        self.tell(&table::RUN_DURATION, took.as_secs_f64());
        let Self { outlets, organization, heartbeat, watch, .. } = self;
        // What it counted last belongs into the file and the push.
        drop(watch);
        if let Some(heartbeat) = heartbeat {
            // First, so that a ping which fails is counted in what is written.
            heartbeat.end(code, said).await;
        }
        outlets.deliver(&organization).await;
    }
}

/// A moment as Prometheus writes it.
#[must_use]
pub fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_micros() as f64 / 1e6
}
