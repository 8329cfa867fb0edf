//! What a person who writes settings may rely on.

use super::*;

const EXAMPLE: &str = include_str!("../../config/example.toml");

#[test]
fn the_example_equals_the_defaults() {
    let example = Config::parse(EXAMPLE).expect("the example is valid");
    let acme = &example.organizations["acme"];
    assert_eq!(example.pace, Pace::default());
    assert_eq!(example.memory, Memory::default());
    assert_eq!(example.schedule, ScheduleSettings::default());
    assert_eq!(example.daemon, DaemonSettings::default());
    assert_eq!(acme.schedule, OwnSchedule::default());
    assert_eq!(example.metrics, MetricsSettings::default());
    assert_eq!(example.status, StatusSettings::default());
    assert_eq!(example.network, Network::default());
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
                schedule: OwnSchedule { backup: Some("b".into()), ..OwnSchedule::default() },
                heartbeat_url: Some(toml::Value::from("https://h").try_into().expect("an address")),
                heartbeat_url_file: Some("h".into()),
            },
        )]
        .into(),
        metrics: MetricsSettings {
            textfile: Some("m".into()),
            pushgateway_url: Some(toml::Value::from("https://p").try_into().expect("an address")),
            pushgateway_url_file: Some("p".into()),
        },
        status: StatusSettings { token_file: Some("s".into()), ..StatusSettings::default() },
        network: Network { ca_file: Some("c".into()) },
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
    refused("[status]\nlisten = '0.0.0.0:9464'", "status.listen");
    refused("[status]\nlisten = 'everywhere'", "everywhere");
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

/// A config file, and files of `conf.d` beside it.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("conf.d")).expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("writable");
    }
    let path = folder.path().join("config.toml");
    (folder, path)
}

#[test]
fn an_organization_may_have_a_file_of_its_own() {
    let (_kept, path) = folder(&[
        ("config.toml", "[organizations.a]\ngid = '1'\nrepository = 'r'"),
        ("conf.d/b.toml", "[organizations.b]\ngid = '2'\nrepository = 's'\nschedule.backup = '0 * * * *'"),
        ("conf.d/notes.txt", "not settings"),
        ("conf.d/.#b.toml", "an editor's"),
    ]);
    let config = Config::read(&path).expect("valid");
    assert_eq!(config.organizations.keys().collect::<Vec<_>>(), ["a", "b"]);
    let schedule = config.schedule.with(&config.organizations["b"].schedule);
    assert_eq!((&*schedule.backup, &*schedule.verify), ("0 * * * *", "0 5 * * 0"));
}

#[test]
fn a_folder_of_organizations_is_enough_in_a_usual_place_and_the_first_place_that_has_settings_counts() {
    let acme = ("conf.d/acme.toml", "[organizations.acme]\ngid = '1'\nrepository = 'r'");
    let (_kept, alone) = folder(&[acme]);
    let (_other, whole) = folder(&[("config.toml", "[pace]\nin_flight = 7")]);
    let nowhere = PathBuf::from("/nonexistent/asana-backup/config.toml");
    let config = Config::first(&[nowhere.clone(), alone.clone(), whole.clone()]).expect("valid");
    assert_eq!((config.organizations.len(), &config.pace), (1, &Pace::default()));
    assert_eq!(Config::first(&[whole, alone.clone()]).expect("valid").pace.in_flight.get(), 7);
    assert_eq!(Config::first(&[nowhere]).expect("none"), Config::default());
    // A file that somebody names is there, or it is a mistake.
    assert_eq!(Config::read(&alone).expect_err("no file").kind(), ErrorKind::Config);
}

#[test]
fn a_name_that_two_files_give_is_refused_and_both_are_named() {
    let section = "[organizations.a]\ngid = '1'\nrepository = 'r'";
    let (_kept, path) = folder(&[("config.toml", section), ("conf.d/other.toml", section)]);
    let error = Config::read(&path).expect_err("twice").to_string();
    assert!(error.contains("config.toml") && error.contains("other.toml"), "{error}");
    let (_kept, path) = folder(&[("config.toml", ""), ("conf.d/pace.toml", "[pace]\nin_flight = 1")]);
    let error = Config::read(&path).expect_err("not there");
    assert!(error.to_string().contains("pace"), "{error}");
    assert!(error.remedy_text().is_some_and(|remedy| remedy.contains("organizations")));
}

#[test]
fn jobs_that_share_a_file_out_get_one_organization_each_by_their_index() {
    let config = Config::parse(
        "[organizations.b]\ngid = '2'\nrepository = 's'\n[organizations.a]\ngid = '1'\nrepository = 'r'",
    )
    .expect("valid");
    let job = |index| config.chosen(&Overrides { organization_index: Some(index), ..Overrides::default() });
    let names: Vec<_> = (0..2).map(|index| job(index).expect("there")[0].0.clone()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(job(2).expect_err("there are two").kind(), ErrorKind::Config);
    // One that is named for all of them, as by the environment, is nobody's.
    let overrides =
        Overrides { organization_index: Some(0), repository: Some("s".to_owned()), ..Overrides::default() };
    let error = config.chosen(&overrides).expect_err("both would write to it");
    assert!(error.to_string().contains("several organizations"), "{error}");
}

#[test]
fn what_is_wrong_with_a_file_is_told_without_the_addresses_in_it() {
    for (text, named) in [
        ("\n[organizations.a]\nheartbeat_url = \"https://ping/canary\ngid = '1'", "line 3, `heartbeat_url`"),
        ("\n[organizations.a]\nheartbeat_url \"https://ping/canary?create=1\"\n", "line 3: "),
        ("[metrics]\npushgateway = 'https://me:canary@push'", "line 2, `pushgateway`"),
        (
            "[organizations.a]\ngid = '1'\nrepository = 's3://KEY:canary@bucket'",
            "organizations.a: the repository's URL",
        ),
        ("[metrics]\npushgateway_url = ['https://me:canary@push']", "line 2, `pushgateway_url`"),
    ] {
        let error = Config::parse(text).expect_err(text);
        let error = format!("{error} {error:?}");
        assert!(error.contains(named) && !error.contains("canary"), "{error}");
    }
}
