//! Addresses of servers, and what of them is told.
//!
//! Rule: an address may hold what nobody may read, as a user's name and password or the query of a signed one. Such an
//! address is refused, and whatever is repeated of any address in an error has neither.

use url::Url;

/// `address` as an error may repeat it: without what may be a secret. What is no address is left as it is.
#[must_use]
pub fn shown(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    // Up to the last one: a password may have any character, also one that ends an address.
    let (user, place) = rest.rsplit_once('@').map_or(("", rest), |(_, place)| ("***@", place));
    let bare = place.split(['?', '#']).next().unwrap_or_default();
    let query = if bare.len() < place.len() { "?***" } else { "" };
    format!("{scheme}://{user}{bare}{query}")
}

/// What `url` holds that may be a secret, in a word; none if there is nothing of the kind.
#[must_use]
pub fn secret_of(url: &Url) -> Option<&'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        return Some("credentials");
    }
    (url.query().is_some() || url.fragment().is_some()).then_some("a query, as a signed address does")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_an_address_has_no_secret() {
        for (address, expected) in [
            ("https://s3.example.com:8443/a/b", "https://s3.example.com:8443/a/b"),
            ("https://me:canary@host/b", "https://***@host/b"),
            ("https://canary@host", "https://***@host"),
            ("https://me:can@ary@host/b", "https://***@host/b"),
            ("s3://KEY:can/ary+canary@bucket/prefix", "s3://***@bucket/prefix"),
            ("https://host/b?X-Amz-Signature=canary", "https://host/b?***"),
            ("https://host/b#canary", "https://host/b?***"),
            ("https://me:canary@host/b?c=canary", "https://***@host/b?***"),
            ("https://me:can?ary@host/b", "https://***@host/b"),
            ("/var/backups/a@b?c#d", "/var/backups/a@b?c#d"),
        ] {
            assert_eq!(shown(address), expected);
        }
    }

    #[test]
    fn an_address_that_may_hold_a_secret_is_known() {
        for (address, holds) in [
            ("https://host/a", false),
            ("https://host:1/", false),
            ("https://me@host/a", true),
            ("https://:canary@host/a", true),
            ("https://host/a?b", true),
            ("https://host/a#b", true),
        ] {
            assert_eq!(secret_of(&Url::parse(address).expect("an address")).is_some(), holds, "{address}");
        }
    }
}
