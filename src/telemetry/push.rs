//! Metrics of a run, pushed to a Pushgateway.
//!
//! Rule: a push adds (POST): the gateway keeps what it does not name, so a failed run leaves the last success as it was.
//! Each organization is a group of its own. Its counters are those of this process, for the gateway keeps no sums.

use url::Url;

use crate::telemetry::metrics::Sample;
use crate::telemetry::post::Post;
use crate::telemetry::text;

/// Pushes what there is about `organization`.
pub(super) async fn push(
    post: &Post,
    gateway: &Url,
    organization: &str,
    samples: &[Sample],
) -> Result<(), String> {
    let about = samples.iter().filter(|sample| sample.organization() == organization);
    let body = text::encode(about.cloned().collect());
    post.post(&group(gateway, organization), text::CONTENT_TYPE, &body).await
}

fn group(gateway: &Url, organization: &str) -> Url {
    let mut url = gateway.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["metrics", "job", "asana_backup", "organization", organization]);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_is_a_group_of_its_own() {
        let gateway = Url::parse("https://user:word@example.com/push/").expect("an address");
        let expected = "https://user:word@example.com/push/metrics/job/asana_backup/organization/acme%20one";
        assert_eq!(group(&gateway, "acme one").as_str(), expected);
    }
}
