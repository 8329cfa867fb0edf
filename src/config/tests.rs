//! What a person who writes settings may rely on.

use super::*;

const EXAMPLE: &str = include_str!("../../config/example.toml");

#[test]
fn the_example_equals_the_defaults() {
    let example = Config::parse(EXAMPLE).expect("the example is valid");
    let acme = &example.organizations["acme"];
    assert_eq!(example.pace, Pace::default());
    assert_eq!(example.memory, Memory::default());
    assert_eq!(acme.filters, Filters::default());
    assert_eq!(acme.base_url, ASANA);
    assert_eq!(acme.store, StoreSettings::default());
}

#[test]
fn the_example_documents_every_key() {
    let every = Config {
        organizations: [(
            "acme".to_owned(),
            Organization {
                gid: "1".into(),
                token_file: Some("t".into()),
                repository: "r".into(),
                base_url: asana(),
                filters: Filters::default(),
                store: StoreSettings {
                    endpoint: Some("e".into()),
                    region: Some("r".into()),
                    profile: Some("p".into()),
                    path_style: Some(true),
                    sse: Some(Sse::Kms),
                    kms_key_id: Some("k".into()),
                    bucket_key: Some(true),
                    storage_class: Some("STANDARD_IA".to_owned().try_into().expect("a class")),
                    proxy_url: Some("u".into()),
                    ca_file: Some("c".into()),
                    ..StoreSettings::default()
                },
            },
        )]
        .into(),
        ..Config::default()
    };
    let table = toml::Table::try_from(every).expect("settings are a table");
    let mut keys = Vec::new();
    collect(&table, &mut keys);
    for key in keys {
        let named = EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            line.split('=').next().is_some_and(|name| name.trim() == key)
                || line.trim_matches(['[', ']']).split('.').any(|part| part == key)
        });
        assert!(named, "config/example.toml does not mention `{key}`");
    }
}

fn collect(table: &toml::Table, keys: &mut Vec<String>) {
    for (key, value) in table {
        keys.push(key.clone());
        if let toml::Value::Table(inner) = value {
            collect(inner, keys);
        }
    }
}

#[track_caller]
fn refused(text: &str, named: &str) {
    let error = Config::parse(text).expect_err("this must be refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains(named), "{error}");
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    refused("colour = 1", "colour");
    refused("[pace]\nrequests_per_minute = 0", "requests_per_minute");
    refused("[organizations.a]\ngid = '1'\nrepository = 'r'\nowner = 'me'", "owner");
    refused("[organizations.a]\ngid = 'acme'\nrepository = 'r'", "acme");
    refused("[organizations.a]\ngid = '1'\nrepository = 'r'\nfilters.tables = ['goats']", "goats");
}

#[test]
fn the_environment_alone_is_enough_for_one_organization() {
    let overrides = Overrides {
        organization: Some("42".into()),
        repository: Some("/backup".into()),
        ..Overrides::default()
    };
    let chosen = Config::default().chosen(&overrides).expect("this is enough");
    assert_eq!(chosen.len(), 1);
    assert_eq!(chosen[0].1.repository, "/backup");
}

#[test]
fn an_organization_is_chosen_by_name_or_gid_and_what_is_typed_wins() {
    let config = Config::parse(
        "[organizations.a]\ngid = '1'\nrepository = 'r'\n[organizations.b]\ngid='2'\nrepository='s'",
    )
    .expect("valid");
    let typed = |organization: &str| Overrides {
        organization: Some(organization.into()),
        repository: Some("t".into()),
        ..Overrides::default()
    };
    assert_eq!(config.chosen(&typed("b")).expect("known")[0].1.repository, "t");
    assert_eq!(config.chosen(&typed("1")).expect("known")[0].0, "a");
    assert!(config.chosen(&typed("c")).is_err());
    assert_eq!(config.chosen(&Overrides::default()).expect("all").len(), 2);
}
