//! What a person types.

use std::ffi::OsString;
use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::backup::Walk;
use crate::config::Overrides;
use crate::crawl::Backfill;
use crate::error::NEW_GAPS;

/// Keeps a complete, provable, queryable copy of an Asana organization in your own bucket.
#[derive(Clone, Debug, Parser)]
#[command(name = "asana-backup", version, max_term_width = 100, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,

    /// The config file; without it the usual user and /etc places are looked at
    #[arg(long, global = true, env = "ASANA_BACKUP_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// The organization: its name in the config file, or its gid
    #[arg(long, global = true, env = "ASANA_ORGANIZATION", value_name = "NAME")]
    pub(super) organization: Option<String>,

    /// The organization by its place in the config file's names, sorted, from 0: for jobs that share a file out; counts
    /// instead of `ASANA_ORGANIZATION`
    #[arg(long, global = true, value_name = "INDEX")]
    pub(super) organization_index: Option<usize>,

    /// Where the backup lives: a folder, file:// or s3://bucket/prefix
    #[arg(long, global = true, env = "ASANA_BACKUP_REPOSITORY", value_name = "URL")]
    pub(super) repository: Option<String>,

    /// The file that holds the token of a service account; the token itself is never an argument
    #[arg(long, global = true, env = "ASANA_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,

    /// Where Asana answers
    #[arg(long, global = true, env = "ASANA_BASE_URL", value_name = "URL")]
    pub(super) base_url: Option<String>,

    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(super) output: Output,

    /// Log what is done, not only what changed
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Tables and sentences
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Bring the backup up to date and commit a snapshot
    Run(RunArguments),
    /// Read again what changed since a day, or all, of some tables or projects, and commit a snapshot
    Backfill(BackfillArguments),
    /// Run by the schedule of the settings until SIGTERM: hourly backups, a daily share of the walk, a weekly verify
    ///
    /// SIGHUP reads the settings again, and keeps those before where the new ones are wrong; SIGUSR1 backs up every
    /// organization now. SIGTERM and SIGINT end it with exit code 0.
    Daemon(DaemonArguments),
    /// Say how current a copy is, what it grew by, what it lacks, and who works on it
    Status {
        /// Exit with 1 if a backup is late: if its second tick has come since the last one, or, where there never was one,
        /// since the repository was created; and if there is no repository
        #[arg(long)]
        fail_if_late: bool,
    },
    /// List what could not be read, or accept it
    Gaps {
        #[command(subcommand)]
        command: Option<GapsCommand>,
    },
    /// List the snapshots of a repository
    Snapshots,
    /// Compare what snapshots name with what is in the store
    Verify {
        /// Only this snapshot
        #[arg(long, value_name = "NUMBER")]
        snapshot: Option<u64>,
        /// Read every row, and compare its digest and its columns with its JSON
        #[arg(long)]
        deep: bool,
    },
    /// Try the settings, the token and the repository, and say what is wrong
    Check,
    /// Print what is read, and how, as JSON
    #[command(hide = true)]
    Resources,
    /// Print what completes commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man {
        /// Write the page of every command into this folder instead
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
    /// Print the table of exit codes
    #[command(hide = true)]
    Exits,
    /// Back up a simulated organization into ./demo-repository and look at the result
    #[cfg(feature = "demo")]
    Demo(DemoArguments),
    /// Serve a simulated Asana; the first line of standard output says where
    #[cfg(feature = "demo")]
    Simulate(asana_simulator::program::Args),
}

/// How a run differs from the usual.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct RunArguments {
    /// Walk everything, whatever was walked lately
    #[arg(long)]
    pub(super) full: bool,
    #[command(flatten)]
    pub(super) how: HowArguments,
}

/// What a backfill reads again.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct BackfillArguments {
    /// Only what changed since then: a day (2026-11-01) in UTC, or a moment (2026-11-01T08:00:00+01:00)
    #[arg(long, value_name = "DATE", value_parser = moment, required_unless_present = "all")]
    since: Option<DateTime<Utc>>,
    /// All, changed or not
    #[arg(long, conflicts_with = "since")]
    all: bool,
    /// Only these tables
    #[arg(long, value_name = "TABLE", value_delimiter = ',', num_args = 1..)]
    tables: Vec<String>,
    /// Only these projects, by gid, and what hangs below them
    #[arg(long, value_name = "GID", value_delimiter = ',', num_args = 1..)]
    projects: Vec<String>,
    #[command(flatten)]
    pub(super) how: HowArguments,
}

/// How a run goes about what it reads.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct HowArguments {
    /// Take out what is gone even where that is a tenth of a table, or the token is another's
    #[arg(long)]
    pub(super) accept_deletions: bool,
    /// Say what will be read and what it will cost, and afterwards what it did cost
    #[arg(long)]
    pub(super) explain: bool,
    /// Claim in this name; the claim of a dead run of the same name is taken over at once
    #[arg(long, env = "ASANA_BACKUP_HOLDER", value_name = "NAME")]
    pub(super) holder: Option<String>,
    /// The exit code of a run that commits with new gaps; 0 where a metric tells of them, and the job did its work
    #[arg(long, default_value_t = NEW_GAPS, value_name = "CODE")]
    pub(super) gaps_exit_code: u8,
}

/// Who a daemon is, and where it keeps what it remembers.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct DaemonArguments {
    /// The folder for when it last verified; without it $STATE_DIRECTORY, else ~/.local/state/asana-backup
    #[arg(long, value_name = "FOLDER")]
    pub(super) state: Option<PathBuf>,
    /// Claim in this name; the claim of a dead run of the same name is taken over at once
    #[arg(long, env = "ASANA_BACKUP_HOLDER", value_name = "NAME")]
    pub(super) holder: Option<String>,
}

/// What can be done about gaps.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum GapsCommand {
    /// Acknowledge gaps: they no longer make a run exit with 3, and a snapshot keeps who said so
    Accept(AcceptArguments),
}

/// Which gaps are accepted, and why.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct AcceptArguments {
    /// Why they may stay; kept in the repository
    #[arg(long)]
    pub(super) reason: String,
    /// Until when, as a day (2027-01-31) in UTC; for ever, if not said
    #[arg(long, value_name = "DAY")]
    pub(super) until: Option<chrono::NaiveDate>,
    /// Only gaps of this table
    #[arg(long)]
    pub(super) table: Option<String>,
    /// Only gaps of this operation
    #[arg(long)]
    pub(super) scope: Option<String>,
    /// Only the gap about this object
    #[arg(long)]
    pub(super) gid: Option<String>,
}

/// What the demo may be told.
#[cfg(feature = "demo")]
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DemoArguments {
    /// How large the organization is
    #[arg(long, default_value = "small")]
    pub(super) size: asana_simulator::Size,
    /// Decides everything about it
    #[arg(long, default_value_t = 7)]
    pub(super) seed: u64,
    /// The folder of its repository; where real backups go is none of its business
    #[arg(long, default_value = "./demo-repository", value_name = "FOLDER")]
    pub(super) folder: PathBuf,
}

/// A day, or a moment.
fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    let moment = DateTime::parse_from_rfc3339(text).map(|moment| moment.to_utc());
    moment.map_err(|_| "neither a day (2026-11-01) nor a moment (2026-11-01T08:00:00Z)".to_owned())
}

impl RunArguments {
    /// How much it walks.
    pub(super) fn walk(&self) -> Walk {
        if self.full { Walk::Everything } else { Walk::WhenDue }
    }
}

impl BackfillArguments {
    /// How much it walks.
    pub(super) fn walk(&self) -> Walk {
        let (tables, projects) =
            (self.tables.iter().cloned().collect(), self.projects.iter().cloned().collect());
        Walk::Backfill(Backfill { since: self.since, tables, projects })
    }
}

/// How a command ends when it is asked to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopping {
    /// Whether it has work to lay down, or a commit to finish, and so gets time for that; else it ends at once.
    pub(super) lays_down: bool,
    /// What became of its work when that was done in time, and when it was not.
    pub(super) in_time: &'static str,
    pub(super) too_late: &'static str,
}

impl Command {
    /// How it ends when it is asked to stop.
    pub(super) fn stopping(&self) -> Stopping {
        match self {
            Self::Run(_) | Self::Backfill(_) | Self::Daemon(_) => Stopping {
                lays_down: true,
                in_time: "stopped; the next run goes on from here",
                too_late: "stopped; the next run goes on from the last minute's journal",
            },
            Self::Gaps { command: Some(_) } => Stopping {
                lays_down: true,
                in_time: "stopped; no gap was accepted",
                too_late: "stopped; `gaps` says which were accepted before",
            },
            #[cfg(feature = "demo")]
            Self::Demo(_) | Self::Simulate(_) => {
                let said = "stopped; the next demo begins anew";
                Stopping { lays_down: true, in_time: said, too_late: said }
            }
            _ => {
                let said = "stopped before it was done; asked again, it begins anew";
                Stopping { lays_down: false, in_time: said, too_late: said }
            }
        }
    }

    /// Whether it goes on until somebody stops it, so that being stopped is its usual end.
    pub(super) fn serves(&self) -> bool {
        #[cfg(feature = "demo")]
        if matches!(self, Self::Simulate(_)) {
            return true;
        }
        matches!(self, Self::Daemon(_))
    }
}

impl Arguments {
    /// Reads what was typed, and what the environment says where nothing was.
    pub(super) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(words)?;
        let mut arguments = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        if arguments.organization_index.is_some() && arguments.organization.is_some() {
            if matches.value_source("organization") == Some(ValueSource::CommandLine) {
                let both =
                    "--organization and --organization-index name one organization each: give one of them";
                return Err(command.error(clap::error::ErrorKind::ArgumentConflict, both));
            }
            arguments.organization = None;
        }
        Ok(arguments)
    }

    /// What was typed, or set in the environment, over the config file.
    pub(super) fn overrides(&self) -> Overrides {
        Overrides {
            organization: self.organization.clone(),
            organization_index: self.organization_index,
            repository: self.repository.clone(),
            base_url: self.base_url.clone(),
            token_file: self.token_file.clone(),
        }
    }

    pub(super) fn json(&self) -> bool {
        self.output == Output::Json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_writes_gets_time_when_it_is_stopped() {
        let lays_down = |line: &str| {
            let words = std::iter::once("asana-backup").chain(line.split(' '));
            Arguments::read(words.map(OsString::from)).expect("a command").command.stopping().lays_down
        };
        for line in ["run", "backfill --all", "daemon", "gaps accept --reason it"] {
            assert!(lays_down(line), "{line}");
        }
        for line in ["verify --deep", "status", "snapshots", "check", "gaps", "resources"] {
            assert!(!lays_down(line), "{line}");
        }
    }
}
