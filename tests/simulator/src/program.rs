//! The simulator as a program: `asana-simulator`, and `asana-backup simulate`.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::net::TcpListener;

use crate::limits::Limits;
use crate::options::{EventsPlan, Options, Size};
use crate::serve::serve;
use crate::simulator::Simulator;

/// What the program can be told.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where to listen; port 0 takes any free port
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// How large the organization is: tiny, small, medium, large, or a number of tasks
    #[arg(long, default_value = "small")]
    pub size: Size,
    /// What everything is drawn from
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// The token of the service account
    #[arg(long, default_value = "t")]
    pub token: String,
    /// A token of a person, as token=number: 1 is the organization's first user
    #[arg(long = "person", value_parser = person)]
    pub people: Vec<(String, u32)>,
    /// Refuse what exceeds Asana's rate limits
    #[arg(long)]
    pub limits: bool,
    /// Play a free plan: no task search, and a tenth of the requests
    #[arg(long)]
    pub free_plan: bool,
    /// Edits a second that happen by themselves
    #[arg(long, value_name = "RATE")]
    pub life: Option<f64>,
    /// How long search does not know of a change at most, in seconds
    #[arg(long, default_value_t = 60)]
    pub search_lag: u64,
    /// How long an offset token is good for, in seconds
    #[arg(long, default_value_t = 600)]
    pub offset_ttl: u64,
    /// Play a plan without events of the workspace
    #[arg(long)]
    pub no_workspace_events: bool,
    /// Tell no events at all
    #[arg(long)]
    pub no_events: bool,
    /// Play a plan without the audit log
    #[arg(long)]
    pub no_audit_log: bool,
    /// How long an event takes to become visible at most, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub event_delay: u64,
    /// The share of events that are never told, from 0 to 1
    #[arg(long, value_name = "SHARE")]
    pub lose_events: Option<f64>,
    /// How long every answer takes, in milliseconds
    #[arg(long, default_value_t = 0)]
    pub latency: u64,
    /// The moment the simulated clock starts at, in RFC 3339; the wall clock's now without it
    #[arg(long)]
    pub epoch: Option<DateTime<Utc>>,
}

fn person(text: &str) -> Result<(String, u32), String> {
    let (token, user) = text.split_once('=').ok_or("a person is given as token=number")?;
    match user.parse() {
        Ok(user @ 1..) => Ok((token.to_owned(), user)),
        _ => Err(format!("`{user}` is no user's number")),
    }
}

impl Args {
    fn events(&self) -> EventsPlan {
        match (self.no_events, self.no_workspace_events) {
            (true, _) => EventsPlan::None,
            (false, true) => EventsPlan::Resources,
            (false, false) => EventsPlan::Workspace,
        }
    }

    fn options(&self) -> Options {
        let limits = if self.free_plan { Limits::free() } else { Limits::paid() };
        Options {
            size: self.size,
            seed: self.seed,
            token: self.token.clone(),
            people: self.people.clone(),
            limits: self.limits.then_some(limits),
            epoch: self.epoch.unwrap_or_else(wall_clock),
            life: self.life,
            search: !self.free_plan,
            search_lag: Duration::from_secs(self.search_lag),
            offset_ttl: Duration::from_secs(self.offset_ttl),
            latency: Duration::from_millis(self.latency),
            events: self.events(),
            audit_log: !self.no_audit_log,
            event_delay: Duration::from_secs(self.event_delay),
            lose_events: self.lose_events,
            ..Options::default()
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a served simulator starts at the wall clock's now")]
fn wall_clock() -> DateTime<Utc> {
    SystemTime::now().into()
}

/// Serves until it is interrupted. The first line of standard output says where.
///
/// # Errors
/// Those of the listener and of standard output.
pub async fn run(args: Args) -> io::Result<()> {
    let simulator = Simulator::new(args.options());
    let listener = TcpListener::bind(args.listen).await?;
    let listening = format!("http://{}", listener.local_addr()?);
    let line = json!({
        "listening": listening,
        "base_url": format!("{listening}{}", crate::server::BASE),
        "token": args.token,
        "organization": simulator.organization(),
    });
    writeln!(io::stdout(), "{line}")?;
    io::stdout().flush()?;
    serve(simulator, listener, interrupted()).await
}

async fn interrupted() {
    let mut terminated = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(_) => return drop(tokio::signal::ctrl_c().await),
    };
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}
