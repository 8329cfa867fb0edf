//! The manual: shell completions, man pages and the table of exit codes.
//!
//! Rule: all of it is made from the definitions that the program itself goes by, so it cannot tell of what is not there.

use std::io::Write;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::arguments::Arguments;
use crate::cli::show;
use crate::error::{EXITS, Error, ErrorKind, Exit, Result};

/// Prints what completes commands in `shell`.
pub(super) fn completions(shell: Shell) -> Result<u8> {
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&script)
}

/// Prints the page of the program, or writes those of every command into `folder`.
pub(super) fn man(folder: Option<&Path>) -> Result<u8> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = folder else { return print(&page(&command)?) };
    std::fs::create_dir_all(folder).map_err(|cause| unwritten(folder, &cause))?;
    write_pages(&command, folder)?;
    Ok(0)
}

/// Prints every way to end: what the README shows, or as JSON.
pub(super) fn exits(arguments: &Arguments) -> Result<u8> {
    if arguments.json() {
        EXITS.iter().try_for_each(show::json)?;
        return Ok(0);
    }
    show::line("| code | meaning | what to do |\n|--:|---|---|");
    for exit in EXITS {
        show::line(
            format!("| {} | {} | {} |", codes(exit), exit.meaning, exit.remedy).replace("|  |", "| |"),
        );
    }
    Ok(0)
}

fn codes(exit: &Exit) -> String {
    exit.codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn write_pages(command: &Command, folder: &Path) -> Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, folder)?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).map_err(|cause| unwritten(&path, &cause))
}

/// One page; that of the program also says how it ends.
fn page(command: &Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let bug = |cause| Error::new(ErrorKind::Bug, format!("write a manual page: {cause}"));
    Man::new(command.clone()).manual("asana-backup").render(&mut text).map_err(bug)?;
    if command.get_display_name().is_none_or(|name| name == command.get_name()) {
        exit_status().to_writer(&mut text).map_err(bug)?;
    }
    Ok(text)
}

fn exit_status() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for exit in EXITS {
        let mut sentence = exit.meaning.to_owned();
        if !exit.remedy.is_empty() {
            sentence.push_str(&format!(": {}", exit.remedy.replace('`', "")));
        }
        roff.control("TP", []).text([bold(codes(exit))]).text([roman(sentence)]);
    }
    roff
}

fn print(text: &[u8]) -> Result<u8> {
    if std::io::stdout().write_all(text).is_err() {
        tracing::debug!("nobody reads standard output");
    }
    Ok(0)
}

fn unwritten(path: &Path, cause: &std::io::Error) -> Error {
    Error::new(ErrorKind::Config, format!("write {}: {cause}", path.display()))
        .remedy("name a folder that this user may write to")
}
