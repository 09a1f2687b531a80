//! `nexus meta` and `nexus find`: custom metadata.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use nexus::error::Result;
use nexus::model::VPath;
use nexus::model::metadata::{Condition, MetaValue};
use nexus::work::Scope;
use serde_json::{Map, Value, json};

use super::output;
use super::store_access::{find, path, with_store};

/// Read and change custom metadata
///
/// The key KEY is the extended attribute user.KEY. What begins with nexus. is told by nexus itself and cannot be changed:
/// nexus.etag, nexus.version, nexus.path_id, nexus.created_at, nexus.refs, and of work items nexus.why and nexus.claim.
#[derive(Debug, Args)]
pub(crate) struct Meta {
    #[command(subcommand)]
    command: MetaCommand,
    /// The directory of the store
    #[arg(long, value_name = "DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum MetaCommand {
    /// Print the value of a key
    Get {
        /// The file or directory, an absolute path in the store
        #[arg(value_parser = path)]
        path: VPath,
        /// The key
        key: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a key a value
    Set {
        /// The file or directory, an absolute path in the store
        #[arg(value_parser = path)]
        path: VPath,
        /// The key
        key: String,
        /// The value, a text
        value: String,
        /// The value is JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a key
    Rm {
        /// The file or directory, an absolute path in the store
        #[arg(value_parser = path)]
        path: VPath,
        /// The key
        key: String,
    },
    /// Print all keys with their values
    Ls {
        /// The file or directory, an absolute path in the store
        #[arg(value_parser = path)]
        path: VPath,
        /// Print them as one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Meta {
    pub(crate) fn run(self) -> Result<()> {
        let Self { command, data_dir } = self;
        with_store(data_dir, |vfs| match command {
            MetaCommand::Get { path, key, json } => {
                let value = vfs.meta_get(find(vfs, &path)?, &key)?;
                if json { output::line(as_json(&value)) } else { output::bytes(&as_text(&value)) }
            }
            MetaCommand::Set { path, key, value, json } => {
                let value = if json { parse_json(&value)? } else { Value::String(value) };
                vfs.meta_set(find(vfs, &path)?, &key, &MetaValue::Json(value), &Scope::EVERYTHING)
            }
            MetaCommand::Rm { path, key } => vfs.meta_remove(find(vfs, &path)?, &key),
            MetaCommand::Ls { path, json } => {
                let all = vfs.meta_list(find(vfs, &path)?)?;
                if json {
                    let object: Map<_, _> = all.iter().map(|(key, value)| (key.clone(), as_json(value))).collect();
                    return output::line(Value::Object(object));
                }
                all.iter().try_for_each(|(key, value)| {
                    let text = String::from_utf8_lossy(&as_text(value)).into_owned();
                    // A line each, whatever is in them.
                    output::line(format_args!("{}={}", key.escape_debug(), text.escape_debug()))
                })
            }
        })
    }
}

/// Find files by their metadata
///
/// Prints the path of each file and directory that fulfils all conditions. Two numbers are compared as numbers, anything
/// else byte by byte.
#[derive(Debug, Args)]
pub(crate) struct Find {
    /// A key, one of = != < <= > >=, and a value: 'status=ready', 'priority<5'
    #[arg(long = "where", value_name = "CONDITION", required = true, value_parser = condition)]
    conditions: Vec<Condition>,
    /// Only at or below this path
    #[arg(long, value_name = "PATH", value_parser = path)]
    under: Option<VPath>,
    /// Print a JSON object on each line
    #[arg(long)]
    json: bool,
    /// The directory of the store
    #[arg(long, value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl Find {
    pub(crate) fn run(self) -> Result<()> {
        with_store(self.data_dir, |vfs| {
            let scope = Scope::EVERYTHING.under(self.under.as_ref());
            let mut after = None;
            loop {
                let page = vfs.find(&self.conditions, &scope, after)?;
                for found in page.found {
                    if self.json { output::json(&found)? } else { output::line(&found.virtual_path)? }
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => return Ok(()),
                }
            }
        })
    }
}

fn condition(typed: &str) -> std::result::Result<Condition, String> {
    Condition::parse(typed).map_err(|e| e.context().to_owned())
}

fn parse_json(typed: &str) -> Result<Value> {
    serde_json::from_str(typed).map_err(|e| {
        nexus::error::Error::new(nexus::error::ErrorKind::Invalid, format!("read {typed:?} as JSON")).because(e)
    })
}

/// Bytes that are no text have no JSON of their own: they are shown as hexadecimal digits in an object.
fn as_json(value: &MetaValue) -> Value {
    match value {
        MetaValue::Json(value) => value.clone(),
        MetaValue::Bytes(bytes) => {
            json!({"hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()})
        }
    }
}

fn as_text(value: &MetaValue) -> Vec<u8> {
    value.to_stored().0
}
