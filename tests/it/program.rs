//! The real program over real HTTP: what is printed, and with which exit code.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use asana_backup::process;
use serde_json::Value;

pub(crate) const TOKEN: &str = "canary-token-that-nobody-may-see";
const SIMULATE: &[&str] = &["simulate", "--listen", "127.0.0.1:0", "--size", "tiny", "--token", TOKEN];

/// A simulated Asana in a process of its own, and a folder.
pub(crate) struct Served {
    process: Child,
    pub(crate) base_url: String,
    pub(crate) organization: String,
    pub(crate) folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        // Whatever a test is about, the program has only read.
        if !std::thread::panicking() {
            let answer = self.control("GET", "requests", "");
            let body = answer.split_once("\r\n\r\n").expect("a body").1;
            let requests: Value = serde_json::from_str(body).expect("JSON");
            let methods = requests["methods"].as_object().expect("methods");
            assert!(methods.keys().all(|method| method == "GET"), "{methods:?}");
        }
        // Already ended is fine.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_asana-backup"));
    for name in [
        "ASANA_TOKEN",
        "ASANA_TOKEN_FILE",
        "ASANA_BACKUP_CONFIG",
        "ASANA_BACKUP_REPOSITORY",
        "XDG_CONFIG_HOME",
    ] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent");
    command
}

impl Served {
    pub(crate) fn start(more: &[&str]) -> Self {
        let mut simulate = program();
        simulate.args(SIMULATE).args(more);
        Self::of(simulate)
    }

    /// Started as another user.
    pub(crate) fn start_as(user: Option<u32>) -> Self {
        let mut simulate = program();
        simulate.args(SIMULATE);
        if let Some(user) = user {
            simulate.uid(user).gid(user);
        }
        Self::of(simulate)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    fn of(mut simulate: Command) -> Self {
        let mut process = simulate.stdout(Stdio::piped()).spawn().expect("the simulator starts");
        let mut first = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut first).expect("a first line");
        let said: Value = serde_json::from_str(&first).expect("the first line is JSON");
        let text = |name: &str| said[name].as_str().expect("a text").to_owned();
        let (base_url, organization) = (text("base_url"), text("organization"));
        Self { process, base_url, organization, folder: tempfile::tempdir().expect("a folder") }
    }

    /// Asks the simulator's control API.
    pub(crate) fn control(&self, method: &str, path: &str, body: &str) -> String {
        let host = self.base_url.trim_start_matches("http://").split('/').next().expect("a host").to_owned();
        let mut stream = TcpStream::connect(&host).expect("the simulator listens");
        let length = body.len();
        write!(
            stream,
            "{method} /_sim/{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .expect("it takes requests");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .args(arguments)
            .env("ASANA_TOKEN", TOKEN)
            .env("ASANA_ORGANIZATION", &self.organization)
            .env("ASANA_BASE_URL", &self.base_url)
            .env("ASANA_BACKUP_REPOSITORY", self.repository());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }
}

#[track_caller]
pub(crate) fn ends(output: &Output, code: i32) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    assert!(!format!("{out}{err}").contains(TOKEN), "the token is shown");
    format!("{out}{err}")
}

#[track_caller]
pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    serde_json::from_str(text.lines().next().expect("a line")).expect("JSON")
}

fn parts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(parts(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_environment_alone_is_enough_to_check_back_up_list_and_verify() {
    let served = Served::start(&[]);
    let check = ends(&served.run(&["check"]), 0);
    assert!(check.contains("ok") && !check.contains("WRONG"), "{check}");
    let outcome = json(&served.run(&["run", "--output", "json"]));
    assert_eq!((&outcome["snapshot"], &outcome["complete"]), (&Value::from(1), &Value::from(true)));
    let snapshot = json(&served.run(&["snapshots", "--output", "json"]));
    assert_eq!(snapshot["run"], outcome["run"]);
    let report = json(&served.run(&["verify", "--deep", "--output", "json"]));
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    assert!(report["rows_compared"].as_u64() > Some(500));
    // A repository is enough for what asks Asana nothing.
    let alone =
        program().arg("snapshots").arg("--repository").arg(served.repository()).output().expect("runs");
    assert!(ends(&alone, 0).contains("yes"));
}

#[test]
fn a_run_that_is_to_explain_itself_says_its_plan_and_its_price_first_and_afterwards_what_it_used() {
    let served = Served::start(&[]);
    let least = "at the least ";
    for (number, plan, asks) in [(1, "walks everything", least), (2, "walks nothing", "about ")] {
        let said = ends(&served.run(&["run", "--explain"]), 0);
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("no `{text}` in {said}"));
        let (plan, price, done) = (at(plan), at("expected requests"), at(&format!("snapshot {number}")));
        assert!(plan < price && price < at(asks) && at(asks) < done && done < at("requests used"), "{said}");
    }
    let told = served.run(&["run", "--explain", "--output", "json"]);
    ends(&told, 0);
    let text = String::from_utf8(told.stdout).expect("UTF-8");
    let said: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [plan, outcome] = &said[..] else { panic!("{text}") };
    let sum = |value: &Value, of: fn(&Value) -> u64| match value {
        Value::Array(prices) => prices.iter().map(of).sum::<u64>(),
        Value::Object(counts) => counts.values().map(of).sum(),
        _ => panic!("{text}"),
    };
    let expected = sum(&plan["price"], |price| price["requests"].as_u64().expect("a number"));
    let used = sum(&outcome["requests"], |count| count.as_u64().expect("a number"));
    assert_eq!((&plan["changes"], used), (&Value::from("workspace_events"), expected), "{text}");
}

#[test]
fn a_backfill_by_hand_says_what_it_reads_and_what_it_cost_and_refuses_what_nobody_knows() {
    let served = Served::start(&[]);
    let none = ends(&served.run(&["backfill", "--all", "--tables", "tasks"]), 10);
    assert!(none.contains(r#""remedy":"`asana-backup run` does that"#), "{none}");
    ends(&served.run(&["run"]), 0);
    let said = ends(
        &served.run(&["backfill", "--since", "2020-01-31", "--tables", "tasks,stories", "--explain"]),
        0,
    );
    let plan = "walks again what was named: --since 2020-01-31T00:00:00Z --tables stories,tasks";
    assert!(said.contains(plan) && said.contains("expected requests"), "{said}");
    assert!(said.contains("snapshot 2") && said.contains("getStoriesForTask"), "{said}");
    let all = json(&served.run(&["backfill", "--all", "--output", "json", "--holder", "somebody"]));
    assert_eq!((&all["snapshot"], &all["complete"]), (&Value::from(3), &Value::from(true)));
    assert!(
        ends(&served.run(&["backfill", "--all", "--tables", "taks"]), 10).contains("portfolio_items, tasks")
    );
    ends(&served.run(&["backfill"]), 2);
    ends(&served.run(&["backfill", "--since", "yesterday"]), 2);
}

#[test]
fn metrics_that_cannot_be_told_fail_no_run_and_their_file_is_for_everybody_whatever_the_umask() {
    let served = Served::start(&[]);
    let (config, file) = (served.folder.path().join("config.toml"), served.folder.path().join("asana.prom"));
    let settings = format!(
        "[metrics]\ntextfile = '{}'\npushgateway_url_file = '/nonexistent/pushgateway'\n",
        file.display()
    );
    std::fs::write(&config, settings).expect("a config file");
    let run = served.command(&["run"]);
    let mut private = Command::new("sh");
    private.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(run.get_program()).args(run.get_args());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => private.env(name, value),
            None => private.env_remove(name),
        };
    }
    let said = ends(&private.env("ASANA_BACKUP_CONFIG", &config).output().expect("it runs"), 0);
    assert!(said.contains("metrics not pushed") && said.contains("/nonexistent/pushgateway"), "{said}");
    let mode = std::fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "{mode:o}");
}

/// Replaces the text of a key in a file of JSON.
fn rewrite(file: &Path, key: &str, value: &str) {
    let text = std::fs::read_to_string(file).expect("a file");
    let (before, rest) = text.split_once(&format!("\"{key}\": \"")).expect("the key");
    let (_, after) = rest.split_once('"').expect("a text");
    std::fs::write(file, format!("{before}\"{key}\": \"{value}\"{after}")).expect("writable");
}

#[test]
fn status_fails_where_a_copy_is_late_or_never_came_to_be_if_that_is_asked_for() {
    const LONG_AGO: &str = "2026-01-01T00:00:00Z";
    let served = Served::start(&[]);
    let check = |place: &Path, late: bool, named: &str| {
        let mut status = program();
        status.args(["status", "--fail-if-late", "--repository"]).arg(place);
        let said = ends(&status.output().expect("it runs"), i32::from(late));
        assert!(said.contains(named) && said.contains("LATE") == late, "{said}");
    };
    let place = served.repository();
    check(&place, true, "there is no repository");
    ends(&served.run(&["status"]), 10);
    ends(&served.run(&["run"]), 0);
    check(&place, false, "in time");
    rewrite(&place.join("snapshots/00000000000000000001.json"), "changed_until", LONG_AGO);
    check(&place, true, "LATE since 2026-01-01");
    ends(&served.run(&["status"]), 0);

    let new = served.folder.path().join("new");
    std::fs::create_dir(&new).expect("a folder");
    std::fs::copy(place.join("repository.json"), new.join("repository.json")).expect("a file");
    check(&new, false, "there is no snapshot yet: in time");
    rewrite(&new.join("repository.json"), "created_at", LONG_AGO);
    check(&new, true, "there is no snapshot yet: LATE since 2026-01-01");
}

#[test]
fn a_flipped_bit_and_a_missing_part_are_found_and_named() {
    let served = Served::start(&[]);
    ends(&served.run(&["run"]), 0);
    let parts = parts(&served.repository());
    let mut bytes = std::fs::read(&parts[0]).expect("a part");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&parts[0], bytes).expect("a writable part");
    std::fs::remove_file(&parts[1]).expect("a part");
    let said = ends(&served.run(&["verify"]), 20);
    for part in &parts[..2] {
        let name = part.file_name().expect("a name").to_string_lossy();
        assert!(said.contains(&*name), "{name} is not named: {said}");
    }
    assert!(said.contains("remedy"), "{said}");
}

#[test]
fn a_refused_token_is_exit_12_and_is_never_shown_whatever_is_logged() {
    let served = Served::start(&[]);
    let mut wrong = served.command(&["run", "--verbose"]);
    let file = served.folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}-wrong\n")).expect("a token file");
    let output =
        wrong.env("ASANA_TOKEN_FILE", &file).env("ASANA_BACKUP_LOG", "trace").output().expect("runs");
    ends(&output, 12);
    assert!(!served.repository().join("snapshots").exists(), "something was committed");
    let good = served.command(&["run"]).env("ASANA_BACKUP_LOG", "trace").output().expect("runs");
    ends(&good, 0);
}

#[test]
fn status_tells_how_the_last_attempt_ended_until_one_makes_a_snapshot() {
    let served = Served::start(&[]);
    let config = served.folder.path().join("config.toml");
    let metrics = served.folder.path().join("metrics.prom");
    let settings = format!(
        "[organizations.acme]\ngid = '{}'\nrepository = '{}'\n[metrics]\ntextfile = '{}'\n",
        served.organization,
        served.repository().display(),
        metrics.display()
    );
    std::fs::write(&config, settings).expect("writable");
    let verb = |verb: &[&str]| {
        let mut command = served.command(verb);
        command
            .env("ASANA_BACKUP_CONFIG", &config)
            .env_remove("ASANA_ORGANIZATION")
            .env_remove("ASANA_BACKUP_REPOSITORY");
        command
    };
    let failed = || json(&verb(&["status", "--output", "json"]).output().expect("it runs"))["failed"].clone();
    ends(&verb(&["run"]).output().expect("it runs"), 0);
    assert_eq!(failed(), Value::Null);
    ends(&verb(&["run"]).env("ASANA_TOKEN", "another").output().expect("it runs"), 12);
    assert_eq!(failed()["exit_code"], Value::from(12));
    let said = ends(&verb(&["status"]).output().expect("it runs"), 0);
    assert!(said.contains("ended with 12: the token is refused"), "{said}");
    ends(&verb(&["run"]).output().expect("it runs"), 0);
    assert_eq!(failed(), Value::Null);
}

#[test]
fn where_no_person_sits_at_a_terminal_all_of_standard_error_is_json_and_an_error_is_told_once() {
    let served = Served::start(&[]);
    let errors = |command: &mut Command, code: i32| -> Vec<Value> {
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        lines.filter(|line| line["level"] == "ERROR").collect()
    };
    let of_a_job = errors(served.command(&["run"]).env("ASANA_TOKEN", "another"), 12);
    let before_a_job = errors(&mut served.command(&["run", "--organization", "nobody"]), 10);
    let of_a_reader = errors(&mut served.command(&["verify"]), 10);
    let named = Value::from(&*served.organization);
    for (errors, organization) in [(of_a_job, &named), (before_a_job, &Value::Null), (of_a_reader, &named)] {
        let [one] = &errors[..] else { panic!("{errors:?}") };
        let fields = &one["fields"];
        assert_eq!(&one["organization"], organization, "{one}");
        assert!(fields["exit_code"].is_u64() && fields["error"].is_string(), "{one}");
        assert!(fields["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{one}");
    }
    // Whoever switches the log off is told all the same.
    let quiet = served.command(&["verify"]).env("ASANA_BACKUP_LOG", "off").output().expect("it runs");
    assert!(ends(&quiet, 10).contains("error: "), "{quiet:?}");
}

#[test]
fn what_is_wrong_with_the_settings_is_exit_10_with_a_remedy() {
    let served = Served::start(&[]);
    let config = served.folder.path().join("config.toml");
    std::fs::write(&config, "[pace]\nrequests_per_hour = 1\n").expect("writable");
    let config = config.display().to_string();
    let said = ends(&served.run(&["run", "--config", &config]), 10);
    assert!(said.contains("requests_per_hour"), "{said}");
    let nothing = ends(&program().arg("run").env_remove("ASANA_ORGANIZATION").output().expect("runs"), 10);
    assert!(nothing.contains(r#""remedy":"set ASANA_ORGANIZATION"#), "{nothing}");
    let mut foreign = served.command(&["run", "--organization", "99"]);
    let said = ends(&foreign.output().expect("runs"), 10);
    assert!(said.contains("99"), "{said}");
}

#[test]
fn a_config_file_is_found_in_the_users_usual_place_and_serves_several_organizations() {
    let served = Served::start(&[]);
    let home = served.folder.path();
    let place = home.join(".config/asana-backup");
    std::fs::create_dir_all(&place).expect("a folder");
    std::fs::write(home.join("token"), TOKEN).expect("a token file");
    let section = |name: &str| {
        format!(
            "[organizations.{name}]\ngid = '{}'\ntoken_file = '{}'\nrepository = '{}'\nbase_url = '{}'\n\
             filters.tables = ['teams']\n",
            served.organization,
            home.join("token").display(),
            home.join(name).display(),
            served.base_url,
        )
    };
    std::fs::write(place.join("config.toml"), section("acme") + &section("umbrella")).expect("a config file");
    let found = |arguments: &[&str]| program().args(arguments).env("HOME", home).output().expect("it runs");
    let said = ends(&found(&["run", "--output", "json"]), 0);
    assert_eq!(said.lines().filter(|line| line.contains("\"snapshot\":1,")).count(), 2, "{said}");
    ends(&found(&["run", "--organization", "acme"]), 0);
    assert_eq!(ends(&found(&["snapshots", "--output", "json"]), 0).matches("\"number\":").count(), 3);
    for accepts in [&["gaps", "accept", "--reason", "known"][..], &["run", "--accept-deletions"]] {
        let output = found(accepts);
        assert_eq!(output.status.code(), Some(10), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--organization"), "{output:?}");
    }
    // What is wrong with the first says nothing about the others.
    std::fs::rename(home.join("acme"), home.join("elsewhere")).expect("a folder");
    for verb in ["snapshots", "status", "gaps", "verify"] {
        let output = found(&[verb, "--output", "json"]);
        assert_eq!(output.status.code(), Some(10), "{verb}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("acme"), "{verb}: {output:?}");
        let is_told = !output.stdout.is_empty() || verb == "gaps";
        assert!(is_told, "{verb} tells nothing of umbrella: {output:?}");
    }
}

#[test]
fn a_place_that_is_typed_wins_over_the_organization_of_the_environment() {
    let place = tempfile::tempdir().expect("a folder");
    let config = place.path().join("config.toml");
    let section = |name: &str| {
        format!("[organizations.{name}]\ngid = '1'\nrepository = '{}'\n", place.path().join(name).display())
    };
    std::fs::write(&config, section("acme") + &section("umbrella")).expect("a config file");
    let snapshots = |arguments: &[&str], code| {
        let mut command = program();
        command.env("ASANA_BACKUP_CONFIG", &config).env("ASANA_ORGANIZATION", "acme").args(arguments);
        ends(&command.output().expect("it runs"), code)
    };
    // Neither has a repository: whose is asked for is what counts.
    let of_umbrella = place.path().join("umbrella").display().to_string();
    assert!(!snapshots(&["snapshots"], 10).contains(&of_umbrella));
    for arguments in [["snapshots", "--organization-index", "1"], ["--organization-index", "1", "snapshots"]]
    {
        assert!(snapshots(&arguments, 10).contains(&of_umbrella));
    }
    let typed = ["snapshots", "--organization-index", "1", "--organization", "acme"];
    assert!(snapshots(&typed, 2).contains("--organization-index"));
}

#[test]
fn settings_that_may_not_be_read_are_not_taken_for_none() {
    const NOBODY: u32 = 65_534;
    // Root may read everything.
    let user = (process::user() == 0).then_some(NOBODY);
    let home = tempfile::tempdir().expect("a folder");
    let own = home.path().join(".config/asana-backup");
    std::fs::create_dir_all(own.join("conf.d")).expect("a folder");
    let section =
        format!("[organizations.acme]\ngid = '1'\nrepository = '{}'\n", home.path().join("acme").display());
    std::fs::write(own.join("config.toml"), "").expect("a file");
    std::fs::write(own.join("conf.d/acme.toml"), section).expect("a file");
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    let snapshots = |closed: Option<&Path>| {
        let mut command = program();
        command.arg("snapshots").env("HOME", home.path());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        closed.into_iter().for_each(|path| set(path, 0));
        let said = ends(&command.output().expect("it runs"), 10);
        closed.into_iter().for_each(|path| set(path, if path.is_dir() { 0o755 } else { 0o644 }));
        said
    };
    set(home.path(), 0o755);
    assert!(snapshots(None).contains("acme"), "readable settings are read");
    for closed in [own.clone(), own.join("config.toml"), own.join("conf.d"), own.join("conf.d/acme.toml")] {
        let said = snapshots(Some(&closed));
        let named = said.contains(&closed.display().to_string()) && said.contains("Permission denied");
        assert!(named && said.contains("let this user read"), "{said}");
    }
    // Settings that a closed home may have, and settings of elsewhere, are both possible: it is only said.
    let said = snapshots(Some(&home.path().join(".config")));
    assert!(said.contains("no organization is named") && said.contains("cannot be seen"), "{said}");
}

#[test]
fn new_gaps_are_exit_3_once_and_accepted_ones_are_listed_with_whose_word_it_is_until_its_day_is_over() {
    let served = Served::start(&[]);
    let fault =
        r#"{"path":"/tasks/*/stories","kind":{"status":{"status":403,"retry_after":null}},"every":9}"#;
    served.control("POST", "faults", fault);
    ends(&served.run(&["run"]), 3);
    // Those that were refused are from here on.
    served.control("DELETE", "faults", "");
    served.control("POST", "faults", &fault.replace(",\"every\":9", ""));
    ends(&served.run(&["run"]), 0);
    let accept =
        |more: &[&str]| served.run(&[&["gaps", "accept", "--reason", "it is private"], more].concat());
    ends(&accept(&["--scope", "getTask"]), 10);
    ends(&accept(&["--table", "stories", "--until", "2001-01-31"]), 0);
    ends(&served.run(&["run"]), 3);
    ends(&accept(&[]), 0);
    let run = json(&served.run(&["run", "--output", "json"]));
    assert_eq!((&run["complete"], &run["new_gaps"]), (&Value::from(true), &Value::from(0)));
    let gap = json(&served.run(&["gaps", "--output", "json"]));
    assert_eq!(gap["accepted"]["reason"], "it is private");
    assert_eq!([&gap["name"], &gap["organization"]], [&served.organization; 2]);
    assert!(gap["accepted"]["by"].as_str().is_some_and(|by| by.contains('@')), "{gap}");
    assert!(ends(&served.run(&["gaps"]), 0).contains("it is private"));
    served.control("DELETE", "faults", "");
    ends(&served.run(&["run"]), 0);
    assert!(ends(&served.run(&["gaps"]), 0).contains("has no gap"));
}

#[test]
fn new_gaps_are_success_for_a_job_that_asks_so() {
    let served = Served::start(&[]);
    let fault =
        r#"{"path":"/tasks/*/stories","kind":{"status":{"status":403,"retry_after":null}},"every":9}"#;
    served.control("POST", "faults", fault);
    ends(&served.run(&["run", "--gaps-exit-code", "0"]), 0);
    assert!(ends(&served.run(&["gaps"]), 0).contains("getStoriesForTask"));
}

#[test]
fn a_stopped_run_ends_with_its_signals_code_and_commits_nothing() {
    let served = Served::start(&["--latency", "200"]);
    let mut child =
        served.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    // Not a matter of time: what the simulator has answered says how far the run is.
    while !served.control("GET", "requests", "").contains("getStoriesForTask") {
        assert!(child.try_wait().expect("a child").is_none(), "the run was over before it was stopped");
    }
    let kill = format!("kill -TERM {}", child.id());
    let killed = Command::new("sh").args(["-c", &kill]).status().expect("a shell is there");
    assert!(killed.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
    assert!(!served.repository().join("snapshots").exists(), "something was committed");
}

#[test]
fn what_has_nothing_to_lay_down_ends_at_once_and_says_what_is_true() {
    let served = Served::start(&[]);
    // An Asana that takes a question and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base_url = format!("http://{}/api/1.0", silent.local_addr().expect("an address"));
    let stopped = |verb: &str| {
        let mut command = served.command(&[verb]);
        command.env("ASANA_BASE_URL", &base_url).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().expect("it starts");
        let (mut asked, _) = silent.accept().expect("it asks");
        asked.read_exact(&mut [0]).expect("a question");
        let kill = format!("kill -TERM {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell is there").success());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(143), "{output:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    // Who was given time and used it up would speak of the last minute's journal.
    let said = stopped("run");
    assert!(said.contains("the next run goes on from here"), "{said}");
    let said = stopped("check");
    assert!(said.contains("asked again, it begins anew") && !said.contains("next run"), "{said}");
}

#[test]
fn the_demo_touches_no_folder_but_its_own() {
    let place = tempfile::tempdir().expect("a folder");
    let real = place.path().join("real");
    let demo = |folder: &Path| {
        let mut command = program();
        command
            .args(["demo", "--size", "tiny", "--folder"])
            .arg(folder)
            .env("ASANA_BACKUP_REPOSITORY", &real);
        command.output().expect("it runs")
    };
    let own = place.path().join("own");
    ends(&demo(&own), 0);
    ends(&demo(&own), 0);
    assert!(!real.exists(), "the demo went where real backups go");
    std::fs::create_dir(&real).expect("a folder");
    std::fs::write(real.join("precious"), "").expect("a file");
    assert!(ends(&demo(&real), 10).contains("--folder"));
    assert!(real.join("precious").exists());
}
