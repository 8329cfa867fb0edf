//! A whole listing: offsets, restarts, smaller pages, and guards against listings without end.

use super::*;
use crate::asana::Page;

/// Plays a listing of `count` records whose offsets live for `life`, and refuses pages of more than `largest`.
#[derive(Clone, Copy)]
struct Listing {
    count: usize,
    life: Duration,
    largest: usize,
    /// The refusal of a page that is too large.
    too_much: fn() -> Said,
}

const LISTING: Listing =
    Listing { count: 250, life: Duration::MAX, largest: 100, too_much: || said(413, "") };

impl Listing {
    fn page(self, born: Instant, asked: &Asked) -> Said {
        if asked.uri().path() != "/api/1.0/tasks" {
            return good();
        }
        let query: Vec<(String, String)> =
            url::form_urlencoded::parse(asked.uri().query().expect("a query").as_bytes())
                .into_owned()
                .collect();
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let limit: usize = value("limit").and_then(|limit| limit.parse().ok()).expect("a limit");
        if limit > self.largest {
            return (self.too_much)();
        }
        let now = born.elapsed();
        let from = match value("offset").map(|offset| offset.split_once('@').expect("one of ours")) {
            None => 0,
            Some((_, at)) if now - Duration::from_millis(at.parse().expect("a time")) > self.life => {
                return said(400, r#"{"errors":[{"message":"Your pagination token has expired"}]}"#);
            }
            Some((from, _)) => from.parse().expect("a number"),
        };
        let to = (from + limit).min(self.count);
        let records: Vec<String> = (from..to).map(|n| format!(r#"{{"gid":"{n}"}}"#)).collect();
        let next = if to < self.count {
            let uri = "http://elsewhere.example/never";
            format!(r#"{{"offset":"{to}@{}","path":"/x","uri":"{uri}"}}"#, now.as_millis())
        } else {
            "null".to_owned()
        };
        said(200, format!(r#"{{"data":[{}],"next_page":{next}}}"#, records.join(",")))
    }

    fn pages(self, arrivals: &Arrivals) -> (Client, crate::asana::Pages) {
        let born = arrivals.1;
        let client = client(fake(arrivals, move |_, asked| self.page(born, &asked)));
        let pages =
            client.pages("getTasks", "/tasks".to_owned(), vec![("project".to_owned(), "9".to_owned())]);
        (client, pages)
    }
}

/// Reads to the end, waiting before each further page: records on each page with a `!` where it restarted, and the
/// refusal, if the listing ended with one.
async fn read(pages: &mut crate::asana::Pages, wait: Duration) -> (Vec<String>, Option<Refusal>) {
    let mut sizes = Vec::new();
    let mut last = false;
    while let Some(page) = pages.next().await.expect("a page") {
        match page {
            Page::Refused(refusal) => {
                assert!(pages.next().await.expect("the end").is_none());
                return (sizes, Some(refusal));
            }
            Page::Found(page) => {
                let mark = if page.restarted { "!" } else { "" };
                sizes.push(format!("{}{mark}", page.records.len()));
                last = page.next_offset.is_none();
            }
        }
        tokio::time::sleep(wait).await;
    }
    assert!(last, "the last page says so");
    assert!(pages.next().await.expect("the end").is_none());
    (sizes, None)
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_read_to_its_end() {
    for (count, expected) in
        [(0, vec!["0"]), (100, vec!["100"]), (101, vec!["100", "1"]), (250, vec!["100", "100", "50"])]
    {
        let arrivals = Arrivals::new();
        let (_, mut pages) = Listing { count, ..LISTING }.pages(&arrivals);
        assert_eq!(
            read(&mut pages, Duration::ZERO).await,
            (expected.iter().map(|s| (*s).to_owned()).collect(), None)
        );
        assert_eq!(arrivals.all().len(), expected.len());
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_offset_starts_the_listing_again_and_the_page_says_so() {
    let arrivals = Arrivals::new();
    let listing = Listing { life: Duration::from_secs(60), ..LISTING };
    let (_, mut pages) = listing.pages(&arrivals);
    pages.next().await.expect("a page").expect("the first");
    pages.next().await.expect("a page").expect("the second");
    tokio::time::sleep(Duration::from_secs(61)).await;
    let (sizes, refusal) = read(&mut pages, Duration::ZERO).await;
    assert_eq!((sizes, refusal), (vec!["100!".to_owned(), "100".to_owned(), "50".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn offsets_may_repeat_after_a_restart() {
    let client = client(fake(&Arrivals::new(), |n, asked| {
        let query = asked.uri().query().expect("a query").to_owned();
        let next = |offset: &str| said(200, format!(r#"{{"data":[],"next_page":{{"offset":"{offset}"}}}}"#));
        match query.rsplit_once("offset=").map(|(_, offset)| offset) {
            None => next("a"),
            Some("a") => next("b"),
            Some(_) if n == 2 => said(400, ""),
            Some(_) => said(200, r#"{"data":[]}"#),
        }
    }));
    let mut pages = client.pages("getTasks", "/tasks".to_owned(), Vec::new());
    assert_eq!(read(&mut pages, Duration::ZERO).await.1, None);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_can_never_be_read_in_time_is_given_up() {
    let arrivals = Arrivals::new();
    let listing = Listing { life: Duration::from_secs(60), ..LISTING };
    let (_, mut pages) = listing.pages(&arrivals);
    let (sizes, refusal) = read(&mut pages, Duration::from_secs(61)).await;
    assert_eq!(sizes, ["100", "100!", "100!", "100!", "100!", "100!"]);
    assert_eq!(refusal.expect("given up").phrase, "Your pagination token has expired");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_much_is_asked_for_in_halves() {
    let too_large = || said(400, r#"{"errors":[{"message":"The result is too large."}]}"#);
    let never = || with(said(200, "cut"), "content-length", "9999999999");
    for too_much in [|| said(413, ""), too_large, || slow_down(2), || said(504, "")] {
        let arrivals = Arrivals::new();
        let (client, mut pages) = Listing { largest: 30, too_much, ..LISTING }.pages(&arrivals);
        for _ in 0..100 {
            found(get(&client).await);
        }
        let (sizes, refusal) = read(&mut pages, Duration::ZERO).await;
        assert_eq!((sizes.len(), sizes[0].as_str(), refusal), (10, "25", None));
        assert_eq!(client.live().limit, 1_500, "an expensive listing says nothing about the limit");
    }
    let arrivals = Arrivals::new();
    let (_, mut pages) = Listing { largest: 30, too_much: never, ..LISTING }.pages(&arrivals);
    let (_, refusal) = read(&mut pages, Duration::ZERO).await;
    assert!(refusal.is_some(), "a cut answer is no matter of size");
}

#[tokio::test(start_paused = true)]
async fn halving_has_a_floor() {
    let arrivals = Arrivals::new();
    let (_, mut pages) = Listing { largest: 9, ..LISTING }.pages(&arrivals);
    assert_eq!(read(&mut pages, Duration::ZERO).await.1.expect("given up").status, 413);
    assert_eq!(arrivals.all().len(), 5, "100, 50, 25, 12, 10");
}

#[tokio::test(start_paused = true)]
async fn an_answer_too_large_to_read_is_asked_for_in_halves() {
    let arrivals = Arrivals::new();
    let born = arrivals.1;
    let mut options = options(fake(&arrivals, move |_, asked| LISTING.page(born, &asked)));
    options.retry.answer_bytes = 1_000;
    let client = Client::new(options).expect("good options");
    let mut pages = client.pages("getTasks", "/tasks".to_owned(), Vec::new());
    let (sizes, refusal) = read(&mut pages, Duration::ZERO).await;
    assert_eq!((sizes[0].as_str(), refusal), ("50", None));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_listing_and_is_told() {
    let arrivals = Arrivals::new();
    let client = client(fake(&arrivals, |_, _| said(403, r#"{"errors":[{"message":"not yours"}]}"#)));
    let mut pages = client.pages("getTasks", "/tasks".to_owned(), Vec::new());
    let (sizes, refusal) = read(&mut pages, Duration::ZERO).await;
    assert_eq!((sizes.len(), refusal.expect("refused").phrase.as_str()), (0, "not yours"));
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_leads_in_a_circle_is_left() {
    for offsets in [1, 3] {
        let arrivals = Arrivals::new();
        let client = client(fake(&arrivals, move |n, _| {
            said(200, format!(r#"{{"data":[],"next_page":{{"offset":"o{}"}}}}"#, n % offsets))
        }));
        let mut pages = client.pages("getTasks", "/tasks".to_owned(), Vec::new());
        let (sizes, refusal) = read(&mut pages, Duration::ZERO).await;
        assert_eq!(sizes.len(), offsets + 1);
        assert_eq!(refusal.expect("left").phrase, "the listing leads in a circle");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_no_list_is_no_page() {
    let client = client(fake(&Arrivals::new(), |n, _| match n {
        0 => good(),
        _ => said(200, r#"{"data":[{"gid" :"1"}]}"#),
    }));
    let mut pages = client.pages("getTasks", "/tasks".to_owned(), Vec::new());
    let Some(Page::Found(page)) = pages.next().await.expect("a page") else { panic!("refused") };
    assert_eq!(page.records[0].get(), r#"{"gid" :"1"}"#);
    assert_eq!(client.statistics().retries, 1);
}

#[tokio::test(start_paused = true)]
async fn a_page_whose_reading_was_dropped_is_read_the_next_time() {
    let arrivals = Arrivals::new();
    let born = arrivals.1;
    let transport = slow_fake(&arrivals, move |_, asked| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        LISTING.page(born, &asked)
    });
    let client = client(transport);
    let mut pages = client.pages("getTasks", "/tasks".to_owned(), Vec::new());
    for _ in 0..3 {
        assert!(tokio::time::timeout(Duration::from_millis(500), pages.next()).await.is_err());
        pages.next().await.expect("a page").expect("one of three");
    }
    assert!(pages.next().await.expect("the end").is_none());
    assert_eq!(client.live().in_flight, 0);
}
