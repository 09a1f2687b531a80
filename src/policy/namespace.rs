//! The table of namespaces: what the first name of a path means.

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Name;

/// The namespace of agents' own files, the only one in which the third name of a path is an agent.
pub const WORKSPACE: &str = "workspace";
/// The namespace of what the agents of a tenant share.
pub const SHARED: &str = "shared";
/// The namespace of computed files about the store.
pub const SYSTEM: &str = "system";
/// The namespace of what is finished and does not change any more.
pub const ARCHIVES: &str = "archives";

/// A name that is nobody's to define: the queue of work hangs there.
const RESERVED: &str = ".work";

/// What holds for all paths that begin with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The first name of its paths.
    pub name: String,
    /// Nobody changes anything in it, administrators included.
    pub readonly: bool,
    /// Only administrators get in.
    pub admin_only: bool,
    /// The second name is a tenant, and other tenants do not get there.
    pub requires_tenant: bool,
}

impl Namespace {
    /// A namespace as configured by its name alone: for each tenant its part, open for reading and writing.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), readonly: false, admin_only: false, requires_tenant: true }
    }

    /// The third name of a path in it is an agent.
    pub(super) fn has_agents(&self) -> bool {
        self.name == WORKSPACE
    }
}

/// The namespaces of every store.
fn built_in() -> Vec<Namespace> {
    let row = |name: &str, readonly, admin_only, requires_tenant| Namespace {
        name: name.into(),
        readonly,
        admin_only,
        requires_tenant,
    };
    vec![
        //                readonly admin_only requires_tenant
        row(WORKSPACE, false, false, true),
        row(SHARED, false, false, true),
        row("external", false, false, false),
        row(SYSTEM, true, true, false),
        row(ARCHIVES, true, false, true),
    ]
}

/// The built-in namespaces and the custom ones.
pub(super) fn table(custom: Vec<Namespace>) -> Result<Vec<Namespace>> {
    let mut table = built_in();
    let mut names: HashSet<_> = table.iter().map(|namespace| namespace.name.clone()).collect();
    for namespace in custom {
        let refuse = |why: &str| {
            let what = format!("define the namespace '{}': {why}", namespace.name);
            Err(Error::new(ErrorKind::Configuration, what))
        };
        if built_in().iter().any(|known| known.name == namespace.name) {
            return refuse("it is built in, and cannot be another one");
        }
        if namespace.name == RESERVED {
            return refuse("the name is reserved for the queue of work");
        }
        if Name::new(namespace.name.as_bytes()).is_err() {
            return refuse("its name has to be one that a directory can have");
        }
        if !names.insert(namespace.name.clone()) {
            return refuse("it is defined twice");
        }
        table.push(namespace);
    }
    Ok(table)
}
