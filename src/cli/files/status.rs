//! `nexus status`: who has a store.

use clap::Args;
use nexus::client::{self, Role};
use nexus::error::Result;
use nexus::model::{Timestamp, rfc3339};
use serde_json::json;

use super::{Store, configuration, output, show};

/// Tell who has the store, and its mounts
#[derive(Debug, Args)]
pub(crate) struct StatusCommand {
    /// As a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: Store,
}

impl StatusCommand {
    pub(super) fn run(self) -> Result<()> {
        let data_dir = configuration(self.store.data_dir)?.data_dir;
        let status = client::status(&data_dir)?;
        if self.json {
            let mut shown = json!({ "data_dir": data_dir.to_string_lossy(), "owner": null });
            if let Some(status) = &status {
                let mounts: Vec<_> = status.mounts.iter().map(mount).collect();
                shown["owner"] = json!({
                    "pid": status.pid,
                    "role": status.role,
                    "version": status.version,
                    "clients": status.clients,
                    "mounts": mounts,
                });
            }
            return output::json(&shown);
        }
        let Some(status) = status else {
            return output::line(format_args!("{}: nobody has it open", data_dir.display()));
        };
        let role = match status.role {
            Role::Daemon => "a daemon",
            Role::Library => "a program that uses the library",
        };
        output::line(format_args!("{}: open in process {}, {role}", data_dir.display(), status.pid))?;
        // This command is one of them.
        output::line(format_args!("other clients: {}", status.clients.saturating_sub(1)))?;
        for mount in &status.mounts {
            let whose = match (&mount.tenant, &mount.agent) {
                (None, _) => String::new(),
                (Some(tenant), None) => format!(" for {tenant}"),
                (Some(tenant), Some(agent)) => format!(" for {tenant}/{agent}"),
            };
            let access = if mount.read_only { ", read-only" } else { "" };
            let transport = mount.transport.as_ref().map(|word| format!(", over {word}")).unwrap_or_default();
            let passthrough = match mount.passthrough {
                Some(true) => ", big files served by the kernel",
                Some(false) => ", big files served by the daemon",
                None => "",
            };
            let place = show::name(&mount.mountpoint);
            let place = String::from_utf8_lossy(&place);
            output::line(format_args!("mounted on {place}{whose}{access}{transport}{passthrough}"))?;
        }
        Ok(())
    }
}

fn mount(mount: &client::MountInfo) -> serde_json::Value {
    json!({
        "mountpoint": String::from_utf8_lossy(&mount.mountpoint),
        "tenant": mount.tenant,
        "agent": mount.agent,
        "is_admin": mount.is_admin,
        "read_only": mount.read_only,
        "transport": mount.transport,
        "passthrough": mount.passthrough,
        "since": mount.since.map(|since| rfc3339(Timestamp(since))),
    })
}
