//! The pace, against a server that enforces its limits strictly and was written without looking at the pacer.

use std::collections::VecDeque;

use tokio::task::JoinSet;

use super::*;

/// Says at each request, refused ones included, how long to wait before the next is let through.
type Rule = Box<dyn FnMut(Instant) -> Option<Duration> + Send>;

/// So many requests in each of several sliding windows, in milliseconds.
fn windows(windows: &'static [(u64, usize)]) -> Rule {
    let mut arrived = VecDeque::new();
    Box::new(move |now| {
        arrived.push_back(now);
        while arrived.front().is_some_and(|at| now - *at >= Duration::from_secs(60)) {
            arrived.pop_front();
        }
        let over = windows.iter().filter_map(|(millis, most)| {
            let free = arrived[arrived.len().checked_sub(most + 1)?] + Duration::from_millis(*millis);
            (now < free).then(|| free - now)
        });
        over.max()
    })
}

/// An allowance for a sixth of a minute that fills as time goes by.
fn allowance(per_minute: f64) -> Rule {
    let (size, rate) = (per_minute / 6.0, per_minute / 60.0);
    let (mut left, mut filled) = (size, Instant::now());
    Box::new(move |now| {
        left = (left + (now - filled).as_secs_f64() * rate).min(size) - 1.0;
        filled = now;
        left = left.max(-size);
        (left < 0.0).then(|| Duration::from_secs_f64((1.0 - left) / rate))
    })
}

struct Limiter {
    rule: Rule,
    closed_until: Option<Instant>,
    arrived: usize,
    refused: usize,
    /// Requests that came although they were told to wait.
    impatient: usize,
}

#[derive(Clone)]
struct Server(Arc<Mutex<Limiter>>);

impl Server {
    fn new(rule: Rule) -> Self {
        Self(Arc::new(Mutex::new(Limiter { rule, closed_until: None, arrived: 0, refused: 0, impatient: 0 })))
    }

    /// Serves with an answer after `latency`, and up to `unevenness` before a request arrives.
    fn transport(&self, latency: u64, unevenness: u64) -> Transport {
        let server = self.clone();
        slow_fake(&Arrivals::new(), move |n, _| {
            let server = server.clone();
            async move {
                let uneven = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                tokio::time::sleep(Duration::from_millis(uneven % (unevenness + 1))).await;
                let wait = server.arrive();
                tokio::time::sleep(Duration::from_millis(latency)).await;
                wait.map_or_else(good, |seconds| server.close(seconds))
            }
        })
    }

    /// Lets a request in, or says for how many seconds not to come again.
    fn arrive(&self) -> Option<u64> {
        let now = Instant::now();
        let limiter = &mut *self.0.lock().expect("no panic");
        limiter.impatient += usize::from(limiter.closed_until.is_some_and(|until| now < until));
        limiter.arrived += 1;
        let seconds = (limiter.rule)(now)?.as_millis().div_ceil(1_000) as u64;
        limiter.refused += 1;
        Some(seconds)
    }

    /// The refusal with that many seconds has reached the client.
    fn close(&self, seconds: u64) -> Said {
        let until = Instant::now() + Duration::from_secs(seconds);
        let limiter = &mut *self.0.lock().expect("no panic");
        limiter.closed_until = limiter.closed_until.max(Some(until));
        slow_down(seconds)
    }

    fn passed(&self) -> usize {
        let limiter = self.0.lock().expect("no panic");
        limiter.arrived - limiter.refused
    }

    fn refused(&self) -> usize {
        self.0.lock().expect("no panic").refused
    }

    fn impatient(&self) -> usize {
        self.0.lock().expect("no panic").impatient
    }
}

fn client_of(pacer: &Pacer, transport: Transport) -> Client {
    Client::new(ClientOptions { pacer: pacer.clone(), ..options(transport) }).expect("good options")
}

/// Keeps `workers` requests of each client waiting or under way for `time`.
async fn press(clients: &[Client], workers: usize, time: Duration) {
    let mut pressing = JoinSet::new();
    for n in 0..workers * clients.len() {
        let client = clients[n % clients.len()].clone();
        pressing.spawn(async move {
            loop {
                found(get(&client).await);
            }
        });
    }
    tokio::time::sleep(time).await;
    pressing.shutdown().await;
}

const PAID: &[(u64, usize)] = &[(200, 5), (1_000, 25), (10_000, 250), (60_000, 1_500)];

#[tokio::test(start_paused = true)]
async fn nearly_all_of_the_limit_is_used_and_none_of_it_exceeded() {
    let server = Server::new(windows(PAID));
    let client = client_of(&Pacer::new(PaceOptions::default()), server.transport(200, 0));
    press(&[client], 60, Duration::from_secs(600)).await;
    assert_eq!(server.refused(), 0);
    assert!(server.passed() >= 14_700, "{} of 15,000", server.passed());
}

#[tokio::test(start_paused = true)]
async fn an_uneven_network_changes_nothing() {
    let server = Server::new(windows(&PAID[2..]));
    let client = client_of(&Pacer::new(PaceOptions::default()), server.transport(700, 60));
    press(&[client], 60, Duration::from_secs(600)).await;
    assert_eq!(server.refused(), 0);
    assert!(server.passed() >= 14_700, "{} of 15,000", server.passed());
}

#[tokio::test(start_paused = true)]
async fn two_clients_with_one_pacer_share_the_limit() {
    let server = Server::new(windows(PAID));
    let pacer = Pacer::new(PaceOptions::default());
    let clients = [client_of(&pacer, server.transport(200, 0)), client_of(&pacer, server.transport(200, 0))];
    press(&clients, 40, Duration::from_secs(300)).await;
    assert_eq!(server.refused(), 0);
    assert!(server.passed() >= 7_350, "{} of 7,500", server.passed());
    let each = clients.map(|client| client.statistics().requests());
    assert!(each[0].abs_diff(each[1]) < 10, "{each:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_while_asana_asks_for_patience_and_no_burst_follows() {
    let arrivals = Arrivals::new();
    // Under way when the refusal comes: requests 1 to 4, which left before it.
    let transport = slow_fake(&arrivals, |n, _| async move {
        tokio::time::sleep(Duration::from_millis(190)).await;
        if n == 0 { slow_down(45) } else { good() }
    });
    let client = client(transport);
    press(&[client], 30, Duration::from_secs(60)).await;
    let times = arrivals.millis();
    assert_eq!(times[..5], [0, 41, 81, 122, 162]);
    assert_eq!(times[5], 45_190);
    for pair in times[5..].windows(2) {
        assert!((39..=41).contains(&(pair[1] - pair[0])), "{pair:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_time_is_not_made_up_for() {
    let server = Server::new(windows(PAID));
    let client = client_of(&Pacer::new(PaceOptions::default()), server.transport(200, 0));
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        press(std::slice::from_ref(&client), 60, Duration::from_secs(20)).await;
    }
    assert_eq!(server.refused(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_a_free_plan_is_learned() {
    for rule in [windows(&[(10_000, 25), (60_000, 150)]), windows(&[(60_000, 150)]), allowance(150.0)] {
        let server = Server::new(rule);
        let client = client_of(&Pacer::new(PaceOptions::default()), server.transport(200, 0));
        press(&[client], 60, Duration::from_secs(3_600)).await;
        assert_eq!(server.impatient(), 0);
        assert!(server.passed() >= 8_550, "{} of 9,000", server.passed());
        assert!(server.refused() <= 40, "{} refused", server.refused());
    }
}

#[tokio::test(start_paused = true)]
async fn a_minute_spoilt_by_others_is_forgotten() {
    let server = Server::new(windows(PAID));
    let pacer = Pacer::new(PaceOptions::default());
    let client = client_of(&pacer, server.transport(200, 0));
    // Another program with the same token has used up most of the minute.
    for _ in 0..1_400 {
        server.arrive();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    press(std::slice::from_ref(&client), 60, Duration::from_secs(600)).await;
    assert_eq!(client.live().limit, 1_500);
    let before = server.passed();
    press(&[client], 60, Duration::from_secs(60)).await;
    assert!(server.passed() - before >= 1_470);
}

#[tokio::test(start_paused = true)]
async fn one_refused_request_does_not_lower_the_pace() {
    let client = client(fake(&Arrivals::new(), |n, _| if n % 6_000 == 100 { slow_down(20) } else { good() }));
    press(std::slice::from_ref(&client), 60, Duration::from_secs(600)).await;
    assert_eq!(client.live().limit, 1_500);
}

#[tokio::test(start_paused = true)]
async fn searches_have_a_limit_of_their_own() {
    let search = Server::new(windows(&[(60_000, 60)]));
    let all = Server::new(windows(PAID));
    let pacer = Pacer::new(PaceOptions::default());
    let (searching, others) =
        (client_of(&pacer, search.transport(900, 0)), client_of(&pacer, all.transport(200, 0)));
    let mut searches = JoinSet::new();
    for _ in 0..60 {
        let client = searching.clone();
        searches.spawn(async move {
            loop {
                client.search("searchTasks", "/workspaces/1/tasks/search", &[]).await.expect("an answer");
            }
        });
    }
    press(&[others], 60, Duration::from_secs(600)).await;
    searches.shutdown().await;
    assert_eq!((search.refused(), all.refused()), (0, 0));
    assert!(search.passed() >= 588, "{} of 600", search.passed());
    assert!(all.passed() >= 14_700 - 600, "{}: waiting searches hold no place of others", all.passed());
}

#[tokio::test(start_paused = true)]
async fn no_more_are_in_flight_than_allowed() {
    let flying = Arc::new(Mutex::new((0_u32, 0_u32)));
    let seen = Arc::clone(&flying);
    let transport = slow_fake(&Arrivals::new(), move |_, _| {
        let flying = Arc::clone(&flying);
        async move {
            {
                let mut flying = flying.lock().expect("no panic");
                flying.0 += 1;
                flying.1 = flying.1.max(flying.0);
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
            flying.lock().expect("no panic").0 -= 1;
            good()
        }
    });
    let pacer = Pacer::new(PaceOptions { in_flight: number(7), ..PaceOptions::default() });
    press(&[client_of(&pacer, transport)], 20, Duration::from_secs(100)).await;
    assert_eq!(seen.lock().expect("no panic").1, 7);
}

#[tokio::test(start_paused = true)]
async fn requests_leave_in_the_order_they_were_asked() {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&paths);
    let client = client(fake(&Arrivals::new(), move |_, asked| {
        paths.lock().expect("no panic").push(asked.uri().path().to_owned());
        good()
    }));
    let asking = (0..200).map(|n| {
        let client = client.clone();
        async move { found(client.get("getTask", &format!("/{n:03}"), &[]).await) }
    });
    futures_util::future::join_all(asking).await;
    let paths = seen.lock().expect("no panic");
    assert_eq!(paths.len(), 200);
    assert!(paths.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn dropping_a_request_that_waits_or_flies_loses_no_turn() {
    let arrivals = Arrivals::new();
    let pacer = Pacer::new(PaceOptions { in_flight: number(5), ..PaceOptions::default() });
    let client = client_of(&pacer, slow_fake(&arrivals, |_, _| std::future::pending()));
    for _ in 0..20 {
        press(std::slice::from_ref(&client), 50, Duration::from_millis(101)).await;
    }
    assert_eq!(client.live().in_flight, 0);
    let rest = client_of(&pacer, fake(&arrivals, |_, _| good()));
    let began = arrivals.1.elapsed();
    press(&[rest], 50, Duration::from_secs(60)).await;
    let since = arrivals.all().iter().filter(|at| **at > began).count();
    assert!(since >= 1_484, "{since} in the minute after");
    for pair in arrivals.millis().windows(2) {
        assert!(pair[1] - pair[0] >= 35, "{pair:?}");
    }
}
