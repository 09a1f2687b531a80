//! A configuration as text, which is a configuration file again: each value is JSON, and JSON is YAML.

use serde_json::{Value, json};

use super::keys::KEYS;
use super::{Config, Mode, Origin, describe};
use crate::model::Transport;

impl Config {
    /// Every key with its value and where that came from, in the order of the documentation.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, Value, &Origin)> {
        let path = |path: &std::path::Path| json!(path.to_string_lossy());
        let value = |key: &str| match key {
            "mode" => match self.mode {
                Mode::Embedded => json!("embedded"),
            },
            "data_dir" => path(&self.data_dir),
            "db_path" => path(&self.data_dir.join(super::DATABASE)),
            "tenant_id" => json!(self.principal.tenant()),
            "agent_id" => json!(self.principal.agent()),
            "is_admin" => json!(self.principal.is_admin()),
            "transport" => json!(self.transport.word()),
            "cache_size_mb" => json!(self.cache_size_mb),
            "enable_vector_search" => json!(self.enable_vector_search),
            "enable_llm_cache" => json!(self.enable_llm_cache),
            "namespaces" => self.namespaces.iter().map(namespace).collect(),
            "strict_namespaces" => json!(self.strict_namespaces),
            _ => self.mounts.iter().map(mount).collect(),
        };
        KEYS.iter().map(|(key, _)| (*key, value(key), self.origin(key))).collect()
    }

    /// The text of a configuration file that says the same; with `origins`, and where each value came from.
    #[must_use]
    pub fn to_text(&self, origins: bool) -> String {
        let line = |(key, value, origin): (&str, Value, &Origin)| {
            let origin = if origins { format!("  # {}", describe(origin)) } else { String::new() };
            format!("{key}: {value}{origin}\n")
        };
        self.entries().into_iter().map(line).collect()
    }
}

fn namespace(namespace: &crate::policy::Namespace) -> Value {
    json!({
        "name": namespace.name,
        "readonly": namespace.readonly,
        "admin_only": namespace.admin_only,
        "requires_tenant": namespace.requires_tenant,
    })
}

fn mount(mount: &super::MountEntry) -> Value {
    json!({
        "mountpoint": mount.mountpoint.to_string_lossy(),
        "tenant_id": mount.principal.tenant(),
        "agent_id": mount.principal.agent(),
        "is_admin": mount.principal.is_admin(),
        "read_only": mount.read_only,
        "allow_other": mount.allow_other,
        "transport": mount.transport.map(Transport::word),
        "options": mount.options,
    })
}
