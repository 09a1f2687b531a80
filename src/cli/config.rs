//! `nexus config`: what is configured, and where that came from.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use nexus::config::{Config, Origin, Surroundings, check, describe};
use nexus::error::{Error, ErrorKind, Result};

use super::mount::check_entries;
use super::{configuration, output};

/// Show or check the configuration
#[derive(Debug, Args)]
pub(crate) struct ConfigCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the configuration in force, as a file that could be read again
    Show {
        /// Say of each value where it came from
        #[arg(long)]
        origin: bool,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a configuration file, without using it
    Check {
        /// The file
        file: PathBuf,
    },
}

impl ConfigCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self.what {
            What::Show { origin, json } => show(&configuration(None)?, origin, json),
            What::Check { file } => {
                let config = check(&file, &Surroundings::of_this_process()?)?;
                check_entries(&config)?;
                for key in config.without_effect() {
                    output::note(format_args!("{key} is accepted and has no effect"));
                }
                output::line(format_args!("{}: valid", file.display()))
            }
        }
    }
}

fn show(config: &Config, origin: bool, json: bool) -> Result<()> {
    if !json {
        return output::line(config.to_text(origin).trim_end());
    }
    let entry = |(key, value, from): (&str, serde_json::Value, &Origin)| {
        let value = if origin { serde_json::json!({ "value": value, "origin": describe(from) }) } else { value };
        (key.to_owned(), value)
    };
    let entries: serde_json::Map<_, _> = config.entries().into_iter().map(entry).collect();
    let text = serde_json::to_string_pretty(&entries)
        .map_err(|e| Error::new(ErrorKind::Io, "write the configuration as JSON").because(e))?;
    output::line(text)
}
