//! What nobody may see: in no value that is printed, and not in the memory of the process.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

use asana_backup::asana::{
    Client, ClientOptions, NetworkOptions, Pacer, RetryOptions, Token, transport_over_network,
};
use asana_backup::clock::Clock;
use asana_backup::config::{Config, Overrides, TokenSource};
use asana_backup::error::{Error, ErrorKind};
use asana_backup::process;

use crate::program::Served;
use crate::world::unlimited;

const CANARY: &str = "canary-token-that-nobody-may-see";
/// `nobody`, of whom this machine has no other process.
const NOBODY: u32 = 65_534;

#[test]
fn no_value_that_holds_a_secret_prints_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, CANARY).expect("written");
    let text = secrecy::SecretString::from(CANARY);
    let tokens = [Token::fixed(&text).expect("a token"), Token::from_file(&file).expect("a token")];
    let mut said = vec![format!("{:?} {:?}", TokenSource::Text(text), TokenSource::File(file.clone()))];
    for token in tokens {
        said.push(format!("{token:?}"));
        let options = ClientOptions {
            base_url: "https://app.asana.com/api/1.0".parse().expect("an address"),
            token,
            transport: transport_over_network(&NetworkOptions::default()).expect("a transport"),
            pacer: Pacer::new(unlimited()),
            clock: Clock::wall(),
            retry: RetryOptions::default(),
            seed: 1,
        };
        said.push(format!("{options:?}"));
        said.push(format!("{:?}", Client::new(options).expect("a client")));
    }
    let overrides = Overrides { token_file: Some(file), ..Overrides::default() };
    said.push(format!("{overrides:?} {:?}", Config::default()));
    let error = Error::new(ErrorKind::Denied, "no").doing("ask").remedy("put another");
    said.push(format!("{error:?} {error}"));
    for one in said {
        assert!(!one.is_empty() && !one.contains(CANARY), "{one}");
    }
}

/// Reads a file as somebody: is it readable?
fn reads(user: Option<u32>, path: &str) -> bool {
    let mut head = Command::new("head");
    head.args(["-c", "1", path]).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(user) = user {
        head.uid(user).gid(user);
    }
    head.status().expect("`head` is there").success()
}

#[test]
fn nobody_of_the_same_user_reads_the_memory_or_the_environment_of_the_process() {
    // Root may read everything: then the program is somebody else's, and so is the one who tries to read it.
    let user = (process::user() == 0).then_some(NOBODY);
    let mut other = Command::new("cat");
    other.stdin(Stdio::piped());
    if let Some(user) = user {
        other.uid(user).gid(user);
    }
    let mut other = other.spawn().expect("`cat` is there");
    let served = Served::start_as(user);
    for file in ["environ", "maps", "mem"] {
        let readable = format!("/proc/{}/{file}", other.id());
        if file != "mem" {
            assert!(reads(user, &readable), "{readable} can be read of others: this test shows nothing");
        }
        let hidden = format!("/proc/{}/{file}", served.id());
        assert!(Path::new(&hidden).exists() && !reads(user, &hidden), "{hidden} can be read");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", served.id())).expect("readable");
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(cores.split_whitespace().filter(|word| *word == "0").count(), 2, "{cores}");
    drop(other.stdin.take());
    other.wait().expect("it ends");
}

#[test]
fn a_crash_leaves_no_core() {
    let folder = tempfile::tempdir().expect("a folder");
    let dies = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).current_dir(folder.path()).stdout(Stdio::piped()).stdin(Stdio::null());
        shell
    };
    let program = env!("CARGO_BIN_EXE_asana-backup");
    let script = format!("ulimit -c unlimited 2>/dev/null; exec {program} simulate --size tiny");
    let mut child = dies(&script).spawn().expect("it starts");
    let mut first = String::new();
    let said = child.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut first).expect("it serves");
    let abort = Command::new("sh").args(["-c", &format!("kill -ABRT {}", child.id())]).status();
    assert!(abort.expect("a shell is there").success());
    let status = child.wait().expect("it ends");
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
    let left: Vec<_> = folder.path().read_dir().expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
}
