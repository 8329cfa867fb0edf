//! The verbs `demo` and `simulate`: the whole way of the data, without an Asana.

use std::num::NonZeroU32;
use std::path::Path;

use asana_simulator::{Options, Simulator, program};
use tokio_util::sync::CancellationToken;

use crate::asana::{Client, ClientOptions, PaceOptions, Pacer, RetryOptions, Token, transport_in_process};
use crate::backup::{Outcome, Walk};
use crate::cli::arguments::{Arguments, DemoArguments, HowArguments};
use crate::cli::{show, verbs};
use crate::clock::Clock;
use crate::config::{Config, Organization, StoreSettings};
use crate::daemon::{Outside, open};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::{Repository, Store};
use crate::verify;

/// Edits between the two backups.
const EDITS: usize = 200;

/// Serves a simulated Asana until it is stopped.
pub(super) async fn simulate(arguments: program::Args, stop: &CancellationToken) -> Result<u8> {
    let served = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        served = program::run(arguments) => served,
    };
    served.map(|()| 0).map_err(|cause| {
        Error::new(ErrorKind::Unavailable, format!("serve a simulated Asana: {cause}"))
            .remedy("choose another address with --listen, such as 127.0.0.1:0")
    })
}

/// Backs up a simulated organization twice, with life in between, and verifies both snapshots.
pub(super) async fn demo(
    arguments: &Arguments,
    demo: &DemoArguments,
    stop: &CancellationToken,
) -> Result<u8> {
    let clock = Clock::wall();
    let path = demo.folder.clone();
    make_room(&path)?;
    let simulator = Simulator::new(Options {
        size: demo.size,
        seed: demo.seed,
        epoch: clock.now(),
        // A person is waiting, and wants to see every edit in the second backup.
        search_lag: std::time::Duration::ZERO,
        event_delay: std::time::Duration::ZERO,
        ..Options::default()
    });
    let url = path.display().to_string();
    say(
        arguments,
        &format!("A simulated organization of {} records; the repository is {url}.", total(&simulator)),
    );
    let first = back_up(arguments, &simulator, &clock, &url, stop).await?;
    say(arguments, &format!("\nThe first backup reads everything:\n\n{}", show::outcome(&first)));
    let edits = simulator.advance(EDITS);
    let second = back_up(arguments, &simulator, &clock, &url, stop).await?;
    say(
        arguments,
        &format!(
            "\n{} edits later, the second writes what they changed:\n\n{}",
            edits.len(),
            show::outcome(&second)
        ),
    );
    let repository = open::repository(&url, &StoreSettings::default()).await?;
    let report = verify::verify(&repository, verify::Scope { snapshot: None, deep: true }).await?;
    say(arguments, &format!("\nVerified, every row: {}", show::report(&report)));
    report.result()?;
    if arguments.json() {
        show::json(&first)?;
        show::json(&second)?;
        show::json(&report)?;
    } else {
        show::line(next(&path, &repository));
    }
    Ok(0)
}

fn say(arguments: &Arguments, text: &str) {
    if !arguments.json() {
        show::line(text);
    }
}

fn total(simulator: &Simulator) -> u64 {
    simulator.counts().values().sum()
}

/// The demo begins anew each time, but only takes away what is clearly a demo's.
fn make_room(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let failed = |cause: std::io::Error| {
        Error::new(ErrorKind::Unavailable, format!("take away the last demo's {}: {cause}", path.display()))
    };
    if !path.join(MARK).is_file() && path.read_dir().map_err(failed)?.next().is_some() {
        return Err(Error::new(
            ErrorKind::Config,
            format!("{} is there, and is not a demo's", path.display()),
        )
        .remedy("name another with --folder, or move it away"));
    }
    std::fs::remove_dir_all(path).map_err(failed)
}

/// Says that a folder is a demo's, and so may be taken away by the next.
const MARK: &str = "probes/demo";

async fn back_up(
    arguments: &Arguments,
    simulator: &Simulator,
    clock: &Clock,
    url: &str,
    stop: &CancellationToken,
) -> Result<Outcome> {
    let organization = Organization::new(&simulator.organization(), url);
    let store = Store::open(url, &organization.store)?;
    Repository::open_or_create(store, &organization.gid, clock.now()).await?;
    let mark = Path::new(url).join(MARK);
    let marked =
        mark.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&mark, ""));
    marked.map_err(|cause| Error::new(ErrorKind::Unavailable, format!("mark {url} as a demo's: {cause}")))?;
    let asana = simulator.clone();
    let outside = Outside::new(
        clock.clone(),
        move |_, _, clock| client(&asana, clock),
        |organization| Box::pin(async { Store::open(&organization.repository, &organization.store) }),
    );
    let (config, walk, how) = (Config::default(), Walk::WhenDue, HowArguments::default());
    verbs::back_up(arguments, &outside, ("demo", &organization), &config, &walk, &how, stop).await
}

fn client(simulator: &Simulator, clock: &Clock) -> Result<Client> {
    Client::new(ClientOptions {
        base_url: "http://127.0.0.1/api/1.0".parse().expect("a valid address"),
        token: Token::fixed(&Options::default().token.into())?,
        transport: transport_in_process(simulator.router()),
        // The demo's Asana has no limits, and a person is waiting.
        pacer: Pacer::new(PaceOptions {
            per_minute: NonZeroU32::MAX,
            searches_per_minute: NonZeroU32::MAX,
            ..PaceOptions::default()
        }),
        clock: clock.clone(),
        retry: RetryOptions::default(),
        seed: 0,
    })
}

/// What to look at next: commands that work as printed.
fn next(path: &Path, repository: &Repository) -> String {
    let tasks = repository.url_of("tables/tasks");
    let shown = path.display();
    let program = std::env::args().next().unwrap_or_else(|| "asana-backup".to_owned());
    format!(
        "
Look at it:

  {program} snapshots --repository {shown}
  {program} verify --deep --repository {shown}

With DuckDB (https://duckdb.org) and its Iceberg extension:

  duckdb -c \"INSTALL iceberg; LOAD iceberg; SELECT name, completed, assignee.gid AS assignee, modified_at FROM iceberg_scan('{tasks}') ORDER BY modified_at DESC LIMIT 10\"

The organization as it was before the edits, with `snapshot_from_id = 1`:

  duckdb -c \"INSTALL iceberg; LOAD iceberg; SELECT count(*) AS tasks FROM iceberg_scan('{tasks}', snapshot_from_id = 1)\""
    )
}
