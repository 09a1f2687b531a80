//! The command `nexus`: parse, run one command, choose the exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::start_log();
    match cli::Cli::parse(std::env::args_os().collect()) {
        Ok(cli) => cli.run(),
        Err(exit) => exit,
    }
    .into()
}
