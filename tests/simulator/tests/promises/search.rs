//! Task search.

use std::time::Duration;

use asana_simulator::Size;

use crate::ask::{ask, data, gid, simulator};

#[tokio::test(start_paused = true)]
async fn search_lags_and_answers_at_most_100_without_pages() {
    let simulator = simulator(Size::Small);
    let path = format!("/workspaces/{}/tasks/search?sort_by=modified_at&limit=100", simulator.organization());
    let first = ask(&simulator, &path).await;
    assert_eq!(first.body["data"].as_array().expect("a list").len(), 100);
    assert!(first.body.get("next_page").is_none());
    let task = gid(&first.body["data"][40]);
    simulator.add_comment(&task, "new");
    let since = format!("{path}&modified_at.after=2026-06-30T23:59:59Z");
    assert_eq!(data(ask(&simulator, &since).await).as_array().expect("a list").len(), 0);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(data(ask(&simulator, &since).await)[0]["gid"], task.as_str());
}

#[tokio::test(start_paused = true)]
async fn search_sorts_by_modified_at_ascending_and_a_bulk_edit_fills_more_than_an_answer() {
    let simulator = simulator(Size::Small);
    let fields = "opt_fields=modified_at,completed&limit=100&sort_by=modified_at&sort_ascending=true";
    for (after, same) in [("2026-01-01T00:00:00.000Z", false), ("2026-06-25T23:59:59.999Z", true)] {
        let path = format!(
            "/workspaces/{}/tasks/search?{fields}&modified_at.after={after}",
            simulator.organization()
        );
        let rows = data(ask(&simulator, &path).await);
        let rows = rows.as_array().expect("a list");
        let times: Vec<&str> = rows.iter().filter_map(|row| row["modified_at"].as_str()).collect();
        assert!(times.is_sorted() && times.len() == 100, "{times:?}");
        assert_eq!(times[0] == times[99], same, "more than 100 tasks have one `modified_at`");
    }
}
