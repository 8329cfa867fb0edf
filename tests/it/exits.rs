//! One table of exit codes: what people read, and what systemd and Kubernetes do about them, follows it.

use std::fs;
use std::path::Path;
use std::process::Command;

use asana_backup::error::{EXITS, ErrorKind, Exit, NEW_GAPS};

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

fn codes(wanted: impl Fn(&Exit) -> bool) -> Vec<u8> {
    EXITS.iter().filter(|exit| wanted(exit)).flat_map(|exit| exit.codes).copied().collect()
}

/// What systemd ends a unit with whose credential is not there (`CREDENTIALS` of systemd.exec(5)): it lasts as our own do.
const NO_CREDENTIAL: u8 = 243;

/// The numbers after `key=`, on every line that begins so.
fn unit(text: &str, key: &str) -> Vec<Vec<u8>> {
    let values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(|value| value.split(' ').map(|one| one.parse().expect("a code")).collect()).collect()
}

/// The items of each list `values:`, as YAML writes them one a line.
fn lists(text: &str) -> Vec<Vec<u8>> {
    let mut lists = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line == "values:" {
            let items = lines.by_ref().map_while(|line| line.strip_prefix("- ")?.parse().ok());
            lists.push(items.collect());
        }
    }
    lists
}

fn printed(arguments: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_asana-backup"));
    let output = program.args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_readme_has_the_table_that_the_program_prints() {
    let table = printed(&["exits"]);
    assert_eq!(table.lines().count(), EXITS.len() + 2);
    assert!(shipped("README.md").contains(&table), "README.md lacks this table:\n{table}");
}

#[test]
fn every_exit_code_has_an_entry_in_the_runbook_and_there_is_none_of_another() {
    let runbook = shipped("docs/operations.md");
    let entries = runbook.lines().filter_map(|line| line.strip_prefix("### exit "));
    let told: Vec<Vec<u8>> =
        entries.map(|codes| codes.split(", ").map(|code| code.parse().expect("a code")).collect()).collect();
    assert_eq!(told, EXITS.iter().map(|exit| exit.codes.to_vec()).collect::<Vec<_>>());
    // An entry says something.
    for section in runbook.split("\n### exit ").skip(1) {
        let text =
            section.split_once('\n').map_or("", |(_, text)| text).split("\n#").next().unwrap_or_default();
        assert!(text.trim().len() > 50, "exit {section}");
    }
}

#[test]
fn systemd_counts_new_gaps_and_a_stop_as_success_and_tries_nothing_again_that_lasts() {
    let stopped = codes(|exit| exit.kind == Some(ErrorKind::Cancelled));
    let success = [vec![NEW_GAPS], stopped.clone()].concat();
    let lasting = [codes(|exit| exit.lasting), vec![NO_CREDENTIAL]].concat();
    let services = [
        ("asana-backup.service", &success),
        ("asana-backup-run@.service", &success),
        // A verify commits nothing.
        ("asana-backup-verify@.service", &stopped),
    ];
    for (name, success) in services {
        let text = shipped(&format!("deploy/systemd/{name}"));
        assert_eq!(unit(&text, "SuccessExitStatus"), std::slice::from_ref(success), "{name}");
        let tried_again = text.lines().any(|line| line.starts_with("Restart=") && line != "Restart=no");
        let refused: &[Vec<u8>] = if tried_again { std::slice::from_ref(&lasting) } else { &[] };
        assert_eq!(unit(&text, "RestartPreventExitStatus"), refused, "{name}");
    }
}

#[test]
fn kubernetes_fails_a_job_at_once_on_what_lasts_and_never_on_new_gaps() {
    let lasting = codes(|exit| exit.lasting);
    let jobs = [
        "kubernetes/cronjob/cronjob.yaml",
        "kubernetes/cronjob/verify.yaml",
        "kubernetes/backfill/job.yaml",
        "kubernetes/indexed/job.yaml",
    ];
    for name in jobs {
        let text = shipped(&format!("deploy/{name}"));
        assert_eq!(lists(&text), std::slice::from_ref(&lasting), "{name}");
        // A Job knows success by 0 alone.
        let gaps = text.contains("- run\n") && !text.contains("- --gaps-exit-code=0\n");
        assert!(!gaps, "{name} makes new gaps a failed Job");
    }
}

#[test]
fn completions_and_manual_pages_know_every_command_and_exit_code() {
    let help = printed(&["--help"]);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split(' ').next())
        .collect();
    assert!(commands.len() > 7, "{commands:?}");
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("pages");
    printed(&["man", "--folder", &folder.display().to_string()]);
    let page = printed(&["man"]);
    for exit in EXITS {
        assert!(page.contains(exit.meaning), "the page lacks `{}`", exit.meaning);
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for command in commands.iter().filter(|command| **command != "help") {
            assert!(script.contains(command), "{shell} does not complete {command}");
            let own = folder.join(format!("asana-backup-{command}.1"));
            assert!(own.exists(), "there is no {}", own.display());
        }
    }
    let bash = place.path().join("completion");
    fs::write(&bash, printed(&["completions", "bash"])).expect("writable");
    // A system without bash completes nothing by it.
    if let Ok(status) = Command::new("bash").arg("-n").arg(&bash).status() {
        assert!(status.success());
    }
}

#[test]
fn the_token_that_systemd_loaded_is_found_and_a_named_file_comes_first() {
    let place = tempfile::tempdir().expect("a folder");
    fs::write(place.path().join("asana-token"), "two words").expect("writable");
    let said = |named: Option<&str>, loaded: bool| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_asana-backup"));
        program.args(["check", "--organization", "1", "--repository"]).arg(place.path().join("repository"));
        for name in ["ASANA_TOKEN_FILE", "ASANA_BACKUP_CONFIG", "XDG_CONFIG_HOME", "CREDENTIALS_DIRECTORY"] {
            program.env_remove(name);
        }
        program.env("HOME", "/nonexistent").env("ASANA_TOKEN", "three more words");
        if loaded {
            program.env("CREDENTIALS_DIRECTORY", place.path());
        }
        program.args(named.into_iter().flat_map(|file| ["--token-file", file]));
        let output = program.output().expect("it runs");
        assert_eq!(output.status.code(), Some(10));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let loaded = place.path().join("asana-token").display().to_string();
    assert!(said(None, true).contains(&loaded), "{}", said(None, true));
    assert!(said(Some("/no/such/file"), true).contains("/no/such/file"));
    assert!(!said(None, false).contains(&loaded));
}
