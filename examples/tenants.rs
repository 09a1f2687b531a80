//! One store for many: tenants, their agents, administrators, and namespaces of one's own.
//!
//! `cargo run --example tenants`

use std::path::Path;

use nexus::config::{self, Arguments, Surroundings};
use nexus::error::{Error, ErrorKind, Result};
use nexus::model::Principal;
use nexus::policy::Namespace;
use nexus::{Config, Nexus};

/// The whole tour, each part in a store of its own below a directory that is removed at the end.
pub(crate) fn main() -> Result<()> {
    let directory = tempfile::tempdir().map_err(|e| Error::io("make a directory", e))?;
    let below = |name: &str| directory.path().join(name);
    one_tenant_or_none(&Config::at(below("alone"))?)?;
    isolation(&Config::at(below("isolation"))?)?;
    agents(&Config::at(below("agents"))?)?;
    administrator(&Config::at(below("administrator"))?)?;
    namespaces(&Config::at(below("namespaces"))?)?;
    application_namespaces(&Config::at(below("application"))?)?;
    configuration_file(directory.path())
}

/// Who asks: it comes from the configuration, never from the request.
fn identity(tenant: &str, agent: Option<&str>, is_admin: bool) -> Result<Principal> {
    Principal::new(Some(tenant.into()), agent.map(Into::into), is_admin)
}

/// A tenant, perhaps as one of its agents.
fn connect(config: &Config, tenant: &str, agent: Option<&str>) -> Result<Nexus> {
    nexus::connect_as(config, identity(tenant, agent, false)?)
}

/// The kind of an error, to compare it by.
fn kind<T>(outcome: Result<T>) -> Option<ErrorKind> {
    outcome.err().map(|e| e.kind())
}

/// An application for one: without a tenant nothing is hidden, and any path will do.
fn one_tenant_or_none(config: &Config) -> Result<()> {
    let nx = nexus::connect(config)?;
    nx.write("/workspace/data.txt", b"content")?;
    assert_eq!(nx.read("/workspace/data.txt")?, b"content");
    nx.close()
}

/// Tenants share a store and see nothing of one another; agents of one tenant share what lies in its `/shared`.
fn isolation(config: &Config) -> Result<()> {
    let acme = connect(config, "acme", Some("agent1"))?;
    let tech = connect(config, "techinc", Some("agent1"))?;
    acme.write("/workspace/acme/agent1/secret.txt", b"ACME data")?;
    // It is denied, whether there is such a file or not.
    assert_eq!(kind(tech.read("/workspace/acme/agent1/secret.txt")), Some(ErrorKind::Denied));
    assert_eq!(kind(tech.read("/workspace/acme/agent1/none.txt")), Some(ErrorKind::Denied));
    assert!(tech.list("/", true)?.iter().all(|entry| !entry.path().contains("acme")));

    acme.write("/shared/acme/team-data.json", br#"{"project": "collaboration"}"#)?;
    let colleague = connect(config, "acme", Some("agent2"))?;
    assert_eq!(colleague.read("/shared/acme/team-data.json")?, br#"{"project": "collaboration"}"#);
    assert_eq!(kind(colleague.read("/workspace/acme/agent1/secret.txt")), Some(ErrorKind::Denied));
    [acme, tech, colleague].into_iter().try_for_each(Nexus::close)
}

/// A framework of agents: each has a workspace that the others do not see, and all meet in `/shared`.
fn agents(config: &Config) -> Result<()> {
    let names = ["agent1", "agent2", "agent3"];
    for name in names {
        let nx = connect(config, "acme", Some(name))?;
        nx.write(format!("/workspace/acme/{name}/state.json"), br#"{"status": "ready"}"#)?;
        nx.append("/shared/acme/roll-call", format!("{name}\n"))?;
        let mine = nx.list("/workspace/acme", true)?;
        assert_eq!(mine.len(), 2, "its directory and its file");
        nx.close()?;
    }
    let nx = connect(config, "acme", None)?;
    assert_eq!(nx.read("/shared/acme/roll-call")?, b"agent1\nagent2\nagent3\n");
    // The tenant itself is no agent, and sees all of its agents.
    assert_eq!(nx.list("/workspace/acme", false)?.len(), names.len());
    nx.close()
}

/// An administrator is not isolated; what can only be read, he can only read.
fn administrator(config: &Config) -> Result<()> {
    let user = connect(config, "acme", Some("agent1"))?;
    let admin = nexus::connect_as(config, identity("admin", None, true)?)?;
    user.write("/workspace/acme/agent1/secret.txt", b"confidential")?;
    assert_eq!(admin.read("/workspace/acme/agent1/secret.txt")?, b"confidential");
    // `/system` is about the store, and for administrators.
    assert!(admin.read("/system/version")?.starts_with(b"nexus "));
    assert_eq!(kind(user.read("/system/version")), Some(ErrorKind::Denied));
    assert_eq!(kind(admin.write("/system/version", b"another")), Some(ErrorKind::ReadOnly));
    // A finished tree goes into the archive as a whole, and is not changed any more.
    user.write("/workspace/acme/agent1/run/log", b"done")?;
    let archived = user.archive("/workspace/acme/agent1/run", None)?;
    assert_eq!(archived.to_string(), "/archives/acme/run");
    assert_eq!(kind(admin.delete("/archives/acme/run/log")), Some(ErrorKind::ReadOnly));
    user.close()?;
    admin.close()
}

/// Namespaces beside the built-in ones: one with a part for each tenant, one for administrators alone.
fn namespaces(config: &Config) -> Result<()> {
    let audit = Namespace { admin_only: true, requires_tenant: false, ..Namespace::new("audit") };
    let config = config.clone().with_namespaces(vec![Namespace::new("analytics"), audit])?;
    let nx = connect(&config, "acme", None)?;
    nx.write("/analytics/acme/daily_report.json", br#"{"revenue": 50000}"#)?;
    assert_eq!(kind(nx.write("/analytics/techinc/daily_report.json", b"{}")), Some(ErrorKind::Denied));
    assert_eq!(kind(nx.write("/audit/access.log", b"log entry")), Some(ErrorKind::Denied));
    let admin = nexus::connect_as(&config, identity("admin", None, true)?)?;
    admin.write("/audit/access.log", b"log entry")?;
    nx.close()?;
    admin.close()
}

/// The namespaces of an application, each with a part for each tenant.
fn application_namespaces(config: &Config) -> Result<()> {
    let names = ["ml_models", "datasets", "experiments"].map(Namespace::new);
    let config = config.clone().with_principal(identity("acme", None, false)?).with_namespaces(names.into())?;
    let nx = nexus::connect(&config)?;
    nx.write("/ml_models/acme/classifier-v1.pkl", b"model")?;
    nx.write("/datasets/acme/training/data.csv", b"data")?;
    nx.write("/experiments/acme/exp-001/results.json", b"results")?;
    let other = connect(&config, "techinc", None)?;
    assert_eq!(kind(other.read("/ml_models/acme/classifier-v1.pkl")), Some(ErrorKind::Denied));
    nx.close()?;
    other.close()
}

/// The same from a file, as a service has it: who it is comes from the environment.
fn configuration_file(directory: &Path) -> Result<()> {
    let text = "
mode: embedded
data_dir: ./nexus-data
tenant_id: ${TENANT_ID}
agent_id: ${AGENT_ID:-agent1}
namespaces:
  - name: analytics
    requires_tenant: true
  - name: audit
    admin_only: true
    requires_tenant: false
";
    let file = directory.join("nexus.yaml");
    std::fs::write(&file, text).map_err(|e| Error::io("write nexus.yaml", e))?;
    // Of this process, but as if it had been started there with TENANT_ID=acme. A service says `nexus::connect_default()`.
    let mut surroundings = Surroundings::of_this_process()?;
    surroundings.working_directory = directory.to_owned();
    surroundings.variables.retain(|name, _| !name.to_string_lossy().starts_with("NEXUS_") && name != "AGENT_ID");
    surroundings.variables.insert("TENANT_ID".into(), "acme".into());
    let config = config::resolve(&Arguments::default(), &surroundings)?;
    assert_eq!(config.principal, identity("acme", Some("agent1"), false)?);
    assert_eq!(config.data_dir, directory.join("nexus-data"));
    // A file that is named, and an argument that is stronger than it.
    let arguments = Arguments { file: Some(file), agent_id: Some("agent2".into()), ..Arguments::default() };
    assert_eq!(config::resolve(&arguments, &surroundings)?.principal.agent(), Some("agent2"));

    let nx = nexus::connect(&config)?;
    nx.write("/workspace/acme/agent1/state.json", b"{}")?;
    nx.write("/analytics/acme/report.json", b"{}")?;
    assert_eq!(kind(nx.write("/audit/access.log", b"")), Some(ErrorKind::Denied));
    // Without the variable nobody knows who asks, and that is an error.
    surroundings.variables.remove(std::ffi::OsStr::new("TENANT_ID"));
    let unset = config::resolve(&Arguments::default(), &surroundings);
    assert_eq!(kind(unset), Some(ErrorKind::Configuration));
    nx.close()
}
