//! `nexus mounts`.

use std::path::PathBuf;

use clap::Args;
use nexus::daemon::{self, Mounted};
use nexus::error::Result;
use nexus::model::rfc3339;
use serde_json::json;

use crate::cli::output;

/// List the mounts of all stores
#[derive(Debug, Args)]
pub(crate) struct Mounts {
    /// Only those of the store in this directory
    #[arg(long, value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// One array of objects, for programs
    #[arg(long)]
    json: bool,
}

impl Mounts {
    pub(crate) fn run(self) -> Result<()> {
        let data_dir = self.data_dir.map(|data_dir| data_dir.canonicalize().unwrap_or(data_dir));
        let mounts = daemon::mounted(data_dir.as_deref())?;
        if self.json {
            let all: Vec<_> = mounts.iter().map(object).collect();
            return output::line(format_args!("{:#}", serde_json::Value::from(all)));
        }
        mounts.iter().try_for_each(|mount| output::line(sentence(mount)))
    }
}

fn object(mount: &Mounted) -> serde_json::Value {
    let state = &mount.state;
    json!({
        "mountpoint": state.mountpoint.to_string_lossy(),
        "data_dir": mount.data_dir.to_string_lossy(),
        "pid": mount.pid,
        "tenant_id": state.principal.tenant(),
        "agent_id": state.principal.agent(),
        "is_admin": state.principal.is_admin(),
        "read_only": state.read_only,
        "passthrough": state.passthrough,
        "transport": state.transport,
        "locks": state.locks.word(),
        "since": state.since.map(rfc3339),
    })
}

fn sentence(mount: &Mounted) -> String {
    let state = &mount.state;
    let mut words = vec![if state.read_only { "ro".to_owned() } else { "rw".to_owned() }];
    words.extend(state.principal.tenant().map(|tenant| format!("tenant {tenant}")));
    words.extend(state.principal.agent().map(|agent| format!("agent {agent}")));
    words.extend(state.principal.is_admin().then(|| "admin".to_owned()));
    words.push(match mount.pid {
        Some(pid) => format!("process {pid}"),
        None => "dead".to_owned(),
    });
    format!("{} on {} ({})", mount.data_dir.display(), state.mountpoint.display(), words.join(", "))
}
