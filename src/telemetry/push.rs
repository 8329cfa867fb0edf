//! Metrics of a run, pushed to a Pushgateway.
//!
//! Rule: a push adds (POST): the gateway keeps what it does not name, so a failed run leaves the last success as it was.
//! Each organization is a group of its own. Its counters are those of this process, for the gateway keeps no sums. A name
//! that no path can carry, as one with a slash, goes in base64, as the gateway's README says ("URL", read 2026-11).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
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
        path.pop_if_empty().extend(["metrics", "job", "asana_backup"]);
        // The gateway takes an escaped slash for a slash, and addresses leave out dots that stand alone.
        if organization.contains('/') || matches!(organization, "" | "." | "..") {
            path.extend(["organization@base64", &as_group(organization)]);
        } else {
            path.extend(["organization", organization]);
        }
    }
    url
}

/// A name in URL-safe base64; one `=` stands for no name at all, as the gateway has it.
fn as_group(name: &str) -> String {
    if name.is_empty() { "=".to_owned() } else { URL_SAFE.encode(name) }
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

    #[test]
    fn a_name_that_no_path_can_carry_goes_in_base64() {
        let gateway = Url::parse("https://example.com").expect("an address");
        let of = |name: &str| {
            let group = group(&gateway, name);
            group.as_str().replace("https://example.com/metrics/job/asana_backup/", "")
        };
        assert_eq!(of("acme/one"), "organization@base64/YWNtZS9vbmU=");
        assert_eq!(of("a/?>ü"), "organization@base64/YS8_PsO8");
        assert_eq!(of("/"), "organization@base64/Lw==");
        assert_eq!(of(".."), "organization@base64/Li4=");
        assert_eq!(of(""), "organization@base64/=");
    }
}
