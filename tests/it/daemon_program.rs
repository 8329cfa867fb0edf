//! The real daemon over real HTTP, as systemd and a person meet it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Served, TOKEN, ends, json, program};

/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon, and the socket on which it tells how it goes.
struct Started {
    process: Child,
    socket: UnixDatagram,
}

impl Drop for Started {
    fn drop(&mut self) {
        // Already ended is fine.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Started {
    fn new(config: &Path) -> Self {
        let folder = config.parent().expect("a folder");
        let socket = UnixDatagram::bind(folder.join("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let process = program()
            .args(["daemon", "--config"])
            .arg(config)
            .arg("--state")
            .arg(folder.join("state"))
            .env("NOTIFY_SOCKET", folder.join("notify"))
            .stderr(std::fs::File::create(folder.join("log")).expect("a file"))
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        Self { process, socket }
    }

    /// Listens until something is said that begins so.
    fn hears(&self, beginning: &str) -> String {
        let mut buffer = [0; 4_096];
        loop {
            let length = self.socket.recv(&mut buffer).expect("it is said in time");
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.starts_with(beginning) {
                return said;
            }
        }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("a shell is there");
        assert!(sent.success());
    }
}

/// Settings of a daemon beside others: it listens nowhere.
fn settings(more: &str) -> String {
    format!("status.listen = 'off'\n{more}")
}

/// An organization's section of the settings, with jobs that begin once a year.
fn section(served: &Served, name: &str) -> String {
    let home = served.folder.path();
    format!(
        "[organizations.{name}]\ngid = '{}'\ntoken_file = '{}'\nrepository = '{}'\nbase_url = '{}'\n\
         filters.tables = ['teams']\nschedule = {{ backup = '0 0 1 1 *', reconcile = 'never', verify = '' }}\n",
        served.organization,
        home.join("token").display(),
        home.join(name).display(),
        served.base_url,
    )
}

#[test]
fn a_daemon_makes_up_for_what_was_missed_reads_its_settings_again_and_stops_in_five_seconds() {
    let served = Served::start(&[]);
    let home = served.folder.path();
    std::fs::write(home.join("token"), TOKEN).expect("a token file");
    let config = home.join("config.toml");
    std::fs::write(&config, settings(&section(&served, "acme"))).expect("a config file");
    let mut daemon = Started::new(&config);
    daemon.hears("READY=1");
    // There is no snapshot yet: the first backup does not wait for the new year.
    daemon.hears("STATUS=acme: backup");
    let idle = daemon.hears("STATUS=idle");
    assert!(idle.contains("acme: backup at ") && idle.contains("-01-01T00:0"), "{idle}");
    let status = |name: &str| {
        let mut command = program();
        command.args(["status", "--output", "json", "--organization", name, "--config"]).arg(&config);
        json(&command.output().expect("it runs"))
    };
    let told = status("acme");
    assert_eq!((&told["snapshot"], &told["late"]), (&Value::from(1), &Value::from(false)), "{told}");
    assert_eq!(told["claim"], Value::Null, "{told}");
    assert!(told["runs"][0]["bytes"].as_u64() > Some(0), "{told}");

    std::fs::write(&config, "[pace]\nrequests_per_hour = 1\n").expect("writable");
    daemon.signal("HUP");
    daemon.hears("RELOADING=1\nMONOTONIC_USEC=");
    daemon.hears("READY=1");
    assert!(daemon.process.try_wait().expect("a child").is_none(), "wrong settings ended it");

    std::fs::write(&config, settings(&section(&served, "acme"))).expect("writable");
    std::fs::create_dir(home.join("conf.d")).expect("a folder");
    std::fs::write(home.join("conf.d/other.toml"), section(&served, "umbrella")).expect("writable");
    daemon.signal("HUP");
    daemon.hears("STATUS=umbrella: backup");
    daemon.hears("STATUS=idle");
    assert_eq!(status("umbrella")["snapshot"], Value::from(1));
    daemon.signal("USR1");
    daemon.hears("STATUS=acme: backup");
    daemon.hears("STATUS=idle");
    assert_eq!(status("acme")["snapshot"], Value::from(2));

    daemon.signal("TERM");
    let asked_at = Instant::now();
    daemon.hears("STOPPING=1\nEXTEND_TIMEOUT_USEC=");
    assert_eq!(daemon.process.wait().expect("it ends").code(), Some(0));
    assert!(asked_at.elapsed() < Duration::from_secs(8), "it took {:?}", asked_at.elapsed());
    let log = std::fs::read_to_string(home.join("log")).expect("a log");
    assert!(log.contains("requests_per_hour") && !log.contains(TOKEN), "{log}");
    assert!(log.contains("\"organization\":\"umbrella\""), "{log}");
}

#[test]
fn a_daemon_whose_settings_are_unusable_does_not_start() {
    let served = Served::start(&[]);
    let config = served.folder.path().join("config.toml");
    for (wrong, named) in [
        ("[schedule]\ntimezone = 'Mars'\n".to_owned() + &section(&served, "acme"), "Mars"),
        (section(&served, "acme").replace("0 0 1 1 *", "61 * * * *"), "61 * * * *"),
    ] {
        std::fs::write(&config, settings(&wrong)).expect("writable");
        let mut command = program();
        command.args(["daemon", "--config"]).arg(&config).arg("--state").arg(config.with_file_name("state"));
        let said = ends(&command.output().expect("it runs"), 10);
        assert!(said.contains(named) && said.contains("remedy"), "{said}");
    }
}

#[test]
fn a_daemon_whose_status_port_is_taken_says_so_and_is_tried_again() {
    let served = Served::start(&[]);
    let config = served.folder.path().join("config.toml");
    let taken = served.base_url.trim_start_matches("http://").split('/').next().expect("a host");
    std::fs::write(&config, format!("status.listen = '{taken}'\n{}", section(&served, "acme")))
        .expect("writable");
    let mut command = program();
    command.args(["daemon", "--config"]).arg(&config).arg("--state").arg(config.with_file_name("state"));
    let said = ends(&command.output().expect("it runs"), 13);
    assert!(said.contains(taken) && said.contains("set status.listen"), "{said}");
}

#[test]
fn check_tells_the_next_five_times_of_each_job() {
    let served = Served::start(&[]);
    let said = ends(&served.run(&["check"]), 0);
    let line = said.lines().find(|line| line.contains("backup: 17 * * * * UTC: ")).expect("a line");
    assert_eq!(line.matches(":17:").count(), 5, "{line}");
    assert!(
        said.contains("reconcile: 30 2 * * * UTC: ") && said.contains("verify: 0 5 * * 0 UTC: "),
        "{said}"
    );
}
