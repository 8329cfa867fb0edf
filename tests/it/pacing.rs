//! The request budget is used to the full and never overdrawn.

use asana_backup::asana::{PaceOptions, Pacer};
use asana_simulator::{Limits, Options, Size};

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn two_backups_on_one_token_share_its_limit_use_98_percent_of_it_and_are_never_refused() {
    let options = Options {
        size: Size::Tasks(1_200),
        limits: Some(Limits::paid()),
        latency: std::time::Duration::from_millis(150),
        ..Options::default()
    };
    let world = World::new(options);
    let pacer = Pacer::new(PaceOptions::default());
    let other = world.with_empty_store();
    let (one, two) = tokio::join!(world.try_run_at(pacer.clone()), other.try_run_at(pacer));
    assert!(one.expect("it succeeds").complete && two.expect("it succeeds").complete);

    let log = world.simulator.log();
    assert!(log.iter().all(|request| request.status != 429), "a request was refused");
    // While work is queued: from the first second to the first search, when the walks run dry.
    let first = log[0].at;
    let sweep = log.iter().find(|request| request.target.contains("/tasks/search")).expect("a sweep").at;
    let queued = log.iter().filter(|request| request.at < sweep).count() as f64;
    let minutes = (sweep - first).num_milliseconds() as f64 / 60_000.0;
    assert!(minutes > 2.0, "the walk took {minutes} minutes: too short to tell");
    let used = queued / (minutes * 1_500.0);
    assert!(used >= 0.98, "{:.1} % of the allowed rate was used", used * 100.0);
}
