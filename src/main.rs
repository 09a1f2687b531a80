//! The command `nexus`: parse, run one command, choose the exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let typed: Vec<_> = std::env::args_os().collect();
    // Before anything else is set up: a guardian needs none of it, and is to be small.
    if nexus::daemon::guard_if_asked(&typed) {
        return ExitCode::SUCCESS;
    }
    cli::start_log();
    match cli::Cli::parse(typed) {
        Ok(cli) => cli.run(),
        Err(exit) => exit,
    }
    .into()
}
