//! Where items are: their paths, and who sees them.

use std::collections::HashMap;
use std::fmt;

use crate::error::Result;
use crate::meta::ReadTxn;
use crate::model::{Name, NodeId, PATH_BYTES_MAX, VPath};

/// Namespaces whose second component names a tenant.
const OF_TENANTS: [&[u8]; 3] = [b"workspace", b"shared", b"archives"];

/// What a caller may see, and wants to see: items elsewhere are not there.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    sees: Option<&'a dyn Fn(&VPath) -> bool>,
    under: Option<&'a VPath>,
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("sees_all", &self.sees.is_none()).field("under", &self.under).finish()
    }
}

impl<'a> Scope<'a> {
    /// The whole store.
    pub const EVERYTHING: Self = Self { sees: None, under: None };

    /// The paths for which `sees` is true.
    #[must_use]
    pub fn seen_by(sees: &'a dyn Fn(&VPath) -> bool) -> Self {
        Self { sees: Some(sees), under: None }
    }

    /// Of these, what lies at or below a path, whole components.
    #[must_use]
    pub fn under(self, path: Option<&'a VPath>) -> Self {
        Self { under: path.filter(|path| **path != VPath::root()), ..self }
    }

    /// The same without a path at or below which to look.
    #[must_use]
    pub fn anywhere(self) -> Self {
        Self { under: None, ..self }
    }

    /// Whether a path is one of them.
    #[must_use]
    pub fn holds(&self, path: &VPath) -> bool {
        let below = |above: &VPath| {
            let rest = path.as_bytes().strip_prefix(above.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        self.under.is_none_or(below) && self.sees.is_none_or(|sees| sees(path))
    }

    /// Whether it is the whole store.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.sees.is_none() && self.under.is_none()
    }
}

/// Paths of nodes at one moment; those of directories are walked once.
#[derive(Debug)]
pub struct Paths<'a> {
    read: ReadTxn<'a>,
    /// Directories, without a slash at the end; `None` for one that is not reached from the root.
    directories: HashMap<NodeId, Option<Vec<u8>>>,
}

impl<'a> Paths<'a> {
    /// With nothing known yet.
    #[must_use]
    pub fn new(read: ReadTxn<'a>) -> Self {
        Self { read, directories: HashMap::from([(NodeId::ROOT, Some(Vec::new()))]) }
    }

    /// The moment.
    #[must_use]
    pub fn read(&self) -> ReadTxn<'a> {
        self.read
    }

    /// The path under which a caller sees a node: of several names the one in the directory of the smallest number, and
    /// among these the smallest.
    ///
    /// # Errors
    /// What the database reports.
    pub fn of(&mut self, node: NodeId, scope: &Scope<'_>) -> Result<Option<VPath>> {
        if node == NodeId::ROOT {
            return Ok(Some(VPath::root()).filter(|path| scope.holds(path)));
        }
        for (directory, name) in self.read.names_in_order(node)? {
            if let Some(path) = self.at(directory, &name)?
                && scope.holds(&path)
            {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// The path of a name, which may be gone already.
    ///
    /// # Errors
    /// What the database reports.
    pub fn at(&mut self, directory: NodeId, name: &[u8]) -> Result<Option<VPath>> {
        let name = Name::new(name)?;
        Ok(self.directory(directory)?.map(|above| above.join(name)))
    }

    fn directory(&mut self, id: NodeId) -> Result<Option<VPath>> {
        // Upwards to what is known, then down again.
        let (mut names, mut at) = (Vec::new(), id);
        let mut path = loop {
            if let Some(known) = self.directories.get(&at) {
                break known.clone();
            }
            match self.read.names_in_order(at)?.into_iter().next() {
                Some((above, name)) if names.len() < PATH_BYTES_MAX => {
                    names.push((at, name));
                    at = above;
                }
                _ => break None,
            }
        };
        for (directory, name) in names.into_iter().rev() {
            path = path.map(|mut above| {
                above.push(b'/');
                above.extend_from_slice(&name);
                above
            });
            self.directories.insert(directory, path.clone());
        }
        Ok(path.map(VPath::from_stored))
    }
}

/// The tenant that a path names: its second component, where one is a directory in a namespace of tenants.
#[must_use]
pub fn tenant_of(path: &VPath) -> Option<&[u8]> {
    let mut names = path.as_bytes().split(|byte| *byte == b'/').skip(1);
    let (namespace, tenant) = (names.next()?, names.next()?);
    names.next()?;
    OF_TENANTS.contains(&namespace).then_some(tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> VPath {
        VPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_scope_has_whole_components() {
        let (jobs, root) = (path("/jobs"), path("/"));
        let scope = Scope::EVERYTHING.under(Some(&jobs));
        assert!(scope.holds(&path("/jobs/a")) && scope.holds(&jobs));
        assert!(!scope.holds(&path("/jobs2/a")) && !scope.holds(&path("/a")));
        assert!(Scope::EVERYTHING.under(Some(&root)).is_everything());
        let sees = |path: &VPath| path.as_bytes().ends_with(b"1");
        let both = Scope::seen_by(&sees).under(Some(&jobs));
        assert!(both.holds(&path("/jobs/1")) && !both.holds(&path("/jobs/2")) && !both.holds(&path("/1")));
    }

    #[test]
    fn a_tenant_is_the_second_of_three_names() {
        for (text, tenant) in [
            ("/workspace/acme/agent/x", Some("acme")),
            ("/shared/acme/x", Some("acme")),
            ("/archives/a/b/c", Some("a")),
            ("/shared/x", None),
            ("/external/a/b", None),
            ("/x", None),
        ] {
            assert_eq!(tenant_of(&path(text)), tenant.map(str::as_bytes), "{text}");
        }
    }
}
