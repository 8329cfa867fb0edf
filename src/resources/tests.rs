//! What must hold for every resource, whichever is added next.

use super::*;

#[test]
fn every_resource_is_found_by_its_table_and_its_type() {
    for resource in ALL {
        assert_eq!(by_table(resource.table), Some(*resource));
        if let Some(resource_type) = resource.resource_type {
            assert_eq!(by_type(resource_type), Some(*resource));
        }
    }
}

#[test]
fn every_listing_hangs_below_a_table_that_exists_and_every_placeholder_is_known() {
    for resource in ALL {
        for listing in resource.listings {
            if let Below::Table(table) = listing.below {
                assert!(by_table(table).is_some(), "{} hangs below {table}", listing.operation);
            }
        }
    }
}

#[test]
fn a_reference_is_asked_for_with_its_name_and_kept_by_gid() {
    let tasks = named("tasks");
    let fields = tasks.opt_fields();
    assert!(fields.contains("assignee.name"));
    assert!(fields.contains("custom_fields.enum_value.name"));
    assert!(!fields.contains("enum_options"), "definitions are never asked for on tasks");
}

#[test]
fn a_signed_url_is_never_asked_for() {
    for resource in ALL {
        for secret in ["download_url", "view_url", "photo"] {
            assert!(!resource.opt_fields().contains(secret), "{} asks for {secret}", resource.table);
        }
    }
}
