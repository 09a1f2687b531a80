//! The checks, in their order.

use std::fmt;

use super::namespace::{self, ARCHIVES, Namespace};
use super::scope::Scope;
use crate::error::Result;
use crate::model::{Digest, Name, Principal};

/// What an operation wants to do to what stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// See it, or that it is there.
    Read,
    /// Change it, or take its name away.
    Write,
    /// Put a name there that was not.
    Create,
    /// Put a finished tree there that will not change any more: the way into what is read-only for everybody.
    Archive,
}

/// Why an operation is refused: the first check that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The namespace is for administrators.
    AdminOnly,
    /// The namespace can only be read, by administrators too.
    ReadOnly,
    /// The path is another tenant's.
    OtherTenant,
    /// The path is another agent's.
    OtherAgent,
    /// Under `strict_namespaces` a first name has to be that of a namespace.
    UnknownNamespace,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdminOnly => "only administrators get there",
            Self::ReadOnly => "nothing can be changed there, by administrators neither",
            Self::OtherTenant => "it is another tenant's",
            Self::OtherAgent => "it is another agent's",
            Self::UnknownNamespace => "strict_namespaces is on, and the first name is not that of a namespace",
        })
    }
}

/// An operation was admitted. Only this room can make one.
#[derive(Clone, Copy, Debug)]
pub struct Admitted(());

/// The namespaces of a store, and the checks that follow from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    namespaces: Vec<Namespace>,
    strict: bool,
}

impl Default for Policy {
    /// The built-in namespaces alone; other names are open to all.
    fn default() -> Self {
        Self { namespaces: namespace::table(Vec::new()).unwrap_or_default(), strict: false }
    }
}

impl Policy {
    /// The built-in namespaces and `custom` ones; with `strict` no name outside of them can be made in the root directory.
    ///
    /// # Errors
    /// `Configuration` for a namespace that is built in, reserved, defined twice, or whose name no directory can have.
    pub fn new(custom: Vec<Namespace>, strict: bool) -> Result<Self> {
        Ok(Self { namespaces: namespace::table(custom)?, strict })
    }

    /// All namespaces, built-in ones first.
    #[must_use]
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// What tells these rules from others: the same for the same namespaces, in whatever order they were given.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        let mut rows: Vec<_> = self.namespaces.iter().collect();
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        let mut text = format!("strict {}\n", self.strict);
        for Namespace { name, readonly, admin_only, requires_tenant } in rows {
            text.push_str(&format!("{name:?} {readonly} {admin_only} {requires_tenant}\n"));
        }
        Digest::of(text.as_bytes())
    }

    /// Whether `who` may do this to what stands at `scope`. The first check that fails is the answer.
    ///
    /// # Errors
    /// The reason.
    pub fn admit(&self, who: &Principal, scope: &Scope, access: Access) -> std::result::Result<Admitted, Refusal> {
        let Some(namespace) = self.namespace_of(scope) else {
            let new_name = access == Access::Create && scope.namespace().is_some() && scope.second().is_none();
            return if self.strict && new_name { Err(Refusal::UnknownNamespace) } else { Ok(Admitted(())) };
        };
        if namespace.admin_only && !who.is_admin() {
            return Err(Refusal::AdminOnly);
        }
        let changes = match access {
            Access::Read => false,
            Access::Write | Access::Create => true,
            Access::Archive => namespace.name != ARCHIVES,
        };
        if namespace.readonly && changes {
            return Err(Refusal::ReadOnly);
        }
        if namespace.requires_tenant && is_foreign(who.tenant(), scope.second(), who) {
            return Err(Refusal::OtherTenant);
        }
        if namespace.has_agents() && is_foreign(who.agent(), scope.third(), who) {
            return Err(Refusal::OtherAgent);
        }
        Ok(Admitted(()))
    }

    /// Admits `who` to everything stored, where nothing in the store could be refused it: `present` tells whether the root
    /// directory holds a name. `None` where each operation has to be looked at.
    ///
    /// # Errors
    /// What `present` fails with.
    pub fn admit_all(
        &self,
        who: &Principal,
        access: Access,
        mut present: impl FnMut(Name<'_>) -> Result<bool>,
    ) -> Result<Option<Admitted>> {
        if !who.is_whole() {
            return Ok(None);
        }
        for name in self.guarded(who, access) {
            if present(name)? {
                return Ok(None);
            }
        }
        Ok(Some(Admitted(())))
    }

    /// Namespaces in which this is refused to `who`, whatever its tenant.
    pub fn guarded<'a>(&'a self, who: &Principal, access: Access) -> impl Iterator<Item = Name<'a>> {
        let is_admin = who.is_admin();
        let guarded = move |n: &&Namespace| (n.admin_only && !is_admin) || (n.readonly && access != Access::Read);
        self.namespaces.iter().filter(guarded).filter_map(|n| Name::new(n.name.as_bytes()).ok())
    }

    /// The only name that `who` can see in a directory which stands at `scope`: its own tenant's or agent's. `None` where
    /// it sees more.
    #[must_use]
    pub fn only_name<'a>(&self, who: &'a Principal, scope: &Scope) -> Option<&'a str> {
        let namespace = self.namespace_of(scope)?;
        if who.is_admin() || scope.third().is_some() {
            return None;
        }
        match scope.second() {
            None if namespace.requires_tenant => who.tenant(),
            Some(_) if namespace.has_agents() => who.agent(),
            _ => None,
        }
    }

    /// Whether `who`, once admitted to a directory at `scope`, is refused nothing below it because of a tenant or an agent.
    #[must_use]
    pub fn is_whole(&self, who: &Principal, scope: &Scope) -> bool {
        let Some(namespace) = self.namespace_of(scope) else { return who.is_whole() || scope.namespace().is_some() };
        let tenants = namespace.requires_tenant && scope.second().is_none() && who.tenant().is_some();
        let agents = namespace.has_agents() && scope.third().is_none() && who.agent().is_some();
        who.is_admin() || !(tenants || agents)
    }

    /// Whether everything below `scope` is open to the same identities as a directory that stands there.
    #[must_use]
    pub fn is_uniform(&self, scope: &Scope) -> bool {
        let Some(namespace) = self.namespace_of(scope) else { return scope.namespace().is_some() };
        let tenants = namespace.requires_tenant && scope.second().is_none();
        let agents = namespace.has_agents() && scope.third().is_none();
        !(tenants || agents)
    }

    /// Whether two places are open to the same identities for the same operations.
    #[must_use]
    pub fn is_same_for_all(&self, one: &Scope, other: &Scope) -> bool {
        let key = |scope: &Scope| -> (bool, bool, Option<Vec<u8>>, Option<Vec<u8>>) {
            self.namespace_of(scope).map_or((false, false, None, None), |n| {
                let tenant = scope.second().filter(|_| n.requires_tenant);
                let agent = scope.third().filter(|_| n.has_agents());
                (n.readonly, n.admin_only, tenant.map(<[u8]>::to_vec), agent.map(<[u8]>::to_vec))
            })
        };
        key(one) == key(other)
    }

    /// The tenant that a path names, where its namespace has tenants.
    #[must_use]
    pub fn tenant_of<'a>(&self, scope: &'a Scope) -> Option<&'a [u8]> {
        self.namespace_of(scope).filter(|n| n.requires_tenant).and_then(|_| scope.second())
    }

    fn namespace_of(&self, scope: &Scope) -> Option<&Namespace> {
        let name = scope.namespace()?;
        self.namespaces.iter().find(|namespace| namespace.name.as_bytes() == name)
    }
}

/// Whether a path names a part that is not the caller's.
fn is_foreign(own: Option<&str>, named: Option<&[u8]>, who: &Principal) -> bool {
    matches!((own, named), (Some(own), Some(named)) if own.as_bytes() != named) && !who.is_admin()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::model::VPath;

    fn who(tenant: &str, agent: &str, is_admin: bool) -> Principal {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Principal::new(part(tenant), part(agent), is_admin).unwrap()
    }

    fn policy() -> Policy {
        let audit = Namespace { admin_only: true, requires_tenant: false, ..Namespace::new("audit") };
        let frozen = Namespace { readonly: true, requires_tenant: false, ..Namespace::new("frozen") };
        Policy::new(vec![Namespace::new("models"), audit, frozen], false).unwrap()
    }

    /// One row for each rule and each way to fall under it: read, write, create.
    #[test]
    fn every_namespace_and_every_identity() {
        use Refusal::{AdminOnly, OtherAgent, OtherTenant, ReadOnly};
        let (nobody, tenant, agent) = (who("", "", false), who("acme", "", false), who("acme", "a1", false));
        let (admin, own_admin) = (who("", "", true), who("acme", "a1", true));
        let table: &[(&str, &Principal, Option<Refusal>, Option<Refusal>)] = &[
            ("/", &agent, None, None),
            ("/docs/globex/a9", &agent, None, None),
            ("/workspace", &agent, None, None),
            ("/workspace/acme", &agent, None, None),
            ("/workspace/acme/a1/x", &agent, None, None),
            ("/workspace/acme/a2", &agent, Some(OtherAgent), Some(OtherAgent)),
            ("/workspace/acme/a2/x/y", &tenant, None, None),
            ("/workspace/globex", &agent, Some(OtherTenant), Some(OtherTenant)),
            ("/workspace/globex/a1/x", &tenant, Some(OtherTenant), Some(OtherTenant)),
            ("/workspace/globex/a1/x", &nobody, None, None),
            ("/workspace/globex/a2/x", &own_admin, None, None),
            ("/workspace/any/a2", &who("", "a1", false), Some(OtherAgent), Some(OtherAgent)),
            ("/shared/acme/a2", &agent, None, None),
            ("/shared/globex/x", &agent, Some(OtherTenant), Some(OtherTenant)),
            ("/shared/globex/x", &admin, None, None),
            ("/external/globex/a2", &agent, None, None),
            ("/system", &agent, Some(AdminOnly), Some(AdminOnly)),
            ("/system/version", &nobody, Some(AdminOnly), Some(AdminOnly)),
            ("/system/version", &admin, None, Some(ReadOnly)),
            ("/archives", &agent, None, Some(ReadOnly)),
            ("/archives/acme/run", &agent, None, Some(ReadOnly)),
            ("/archives/globex/run", &agent, Some(OtherTenant), Some(ReadOnly)),
            ("/archives/globex/run", &own_admin, None, Some(ReadOnly)),
            ("/models/acme/x", &agent, None, None),
            ("/models/globex/x", &agent, Some(OtherTenant), Some(OtherTenant)),
            ("/audit/x", &agent, Some(AdminOnly), Some(AdminOnly)),
            ("/audit/x", &admin, None, None),
            ("/frozen/x", &nobody, None, Some(ReadOnly)),
            ("/frozen/x", &admin, None, Some(ReadOnly)),
        ];
        let policy = policy();
        for (path, who, read, write) in table {
            let scope = Scope::of(&VPath::parse(path.as_bytes()).unwrap());
            assert_eq!(policy.admit(who, &scope, Access::Read).err(), *read, "read {path} as {who:?}");
            assert_eq!(policy.admit(who, &scope, Access::Write).err(), *write, "write {path} as {who:?}");
            assert_eq!(policy.admit(who, &scope, Access::Create).err(), *write, "create {path} as {who:?}");
        }
    }

    #[test]
    fn a_namespace_is_defined_once() {
        let cases = [("workspace", "built in"), ("system", "built in"), (".work", "reserved"), ("a/b", "a directory")];
        for (name, why) in cases {
            let refused = Policy::new(vec![Namespace::new(name)], false).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Configuration);
            assert!(refused.context().contains(why), "{refused}");
        }
        let twice = vec![Namespace::new("a"), Namespace::new("a")];
        assert!(Policy::new(twice, false).unwrap_err().context().contains("twice"));
    }

    #[test]
    fn strict_namespaces_refuse_new_names_and_nothing_else() {
        let strict = Policy::new(vec![Namespace::new("models")], true).unwrap();
        let refused = |path: &str, access| {
            strict.admit(&who("", "", true), &Scope::of(&VPath::parse(path.as_bytes()).unwrap()), access).err()
        };
        assert_eq!(refused("/docs", Access::Create), Some(Refusal::UnknownNamespace));
        for (path, access) in [("/docs", Access::Write), ("/docs/x", Access::Create), ("/models", Access::Create)] {
            assert_eq!(refused(path, access), None, "{path}");
        }
    }

    #[test]
    fn only_ones_own_name_is_seen() {
        let policy = policy();
        let only = |who: &Principal, path: &str| {
            policy.only_name(who, &Scope::of(&VPath::parse(path.as_bytes()).unwrap())).map(str::to_owned)
        };
        let agent = who("acme", "a1", false);
        assert_eq!(only(&agent, "/workspace").as_deref(), Some("acme"));
        assert_eq!(only(&agent, "/workspace/acme").as_deref(), Some("a1"));
        assert_eq!(only(&agent, "/models").as_deref(), Some("acme"));
        for open in ["/", "/docs", "/external", "/shared/acme", "/workspace/acme/a1", "/frozen"] {
            assert_eq!(only(&agent, open), None, "{open}");
        }
        assert_eq!(only(&who("acme", "", false), "/workspace/acme"), None);
        assert_eq!(only(&who("acme", "a1", true), "/workspace"), None);
    }

    #[test]
    fn an_archive_takes_only_its_own_tenants_trees() {
        let policy = policy();
        let archive = |who: &Principal, path: &str| {
            policy.admit(who, &Scope::of(&VPath::parse(path.as_bytes()).unwrap()), Access::Archive).err()
        };
        let agent = who("acme", "a1", false);
        assert_eq!(archive(&agent, "/archives/acme/run"), None);
        assert_eq!(archive(&agent, "/archives/globex/run"), Some(Refusal::OtherTenant));
        assert_eq!(archive(&who("", "", true), "/system/x"), Some(Refusal::ReadOnly));
        assert_eq!(archive(&agent, "/frozen/x"), Some(Refusal::ReadOnly));
    }
}
