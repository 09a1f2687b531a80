//! Admission: nothing reaches the filesystem but through here.
//!
//! Where a node stands is found by walking its parents up, and remembered until something moves to another scope. Where
//! nothing in the store can be refused to the identity (no tenant, and no namespace in use that only some may read or
//! change), nothing is looked up at all.
//!
//! What is guaranteed: an operation is admitted for the scope in which its nodes stand at the moment it happens. A change
//! keeps everything in its scope while it is under way; a look is taken again when something moved meanwhile. Whoever
//! holds an open file was admitted when it was opened, and keeps it when it moves, as with the mode bits of Unix.
//!
//! What is another's is not there (`NotFound`) for who asks by number, whatever the sight: a number is not found by
//! honest means. A name is answered as [`Sight`] says, from the name alone, so that the answer tells nothing about it.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLockReadGuard};

use crate::advice;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Name, NodeId, Principal, VPath};
use crate::policy::{Access, Admitted, Policy, Refusal, Scope};
use crate::vfs::{Climb, Moving, Scopes, Vfs};

/// Nodes whose place is remembered. A kernel that forgets keeps it smaller; beyond, half of them are looked up again.
const KNOWN_MAX: usize = 1 << 18;

/// A number that no generation has.
const NEVER: u64 = u64::MAX;

/// How names are answered that the identity has no access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// They are not there, for a mount: `NotFound`, not listed, `Denied` for who would make one.
    Hidden,
    /// They are `Denied`, for the library and the command line.
    Open,
}

/// Where a node stands, and what that means for the identity.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) scope: Arc<Scope>,
    read: std::result::Result<Admitted, Refusal>,
    write: std::result::Result<Admitted, Refusal>,
}

#[derive(Debug)]
struct Known {
    generation: u64,
    standing: Standing,
}

/// The way to the filesystem for one identity.
#[derive(Debug)]
pub(super) struct Gate {
    vfs: Arc<Vfs>,
    policy: Arc<Policy>,
    who: Principal,
    sight: Sight,
    known: Mutex<HashMap<NodeId, Known>>,
    /// For which generation `all_read` and `all_write` hold, and in the lowest bits whether they do.
    all: AtomicU64,
    all_read: OnceLock<Admitted>,
    all_write: OnceLock<Admitted>,
}

/// The filesystem, for one change that was admitted. Nothing moves to another scope before it is dropped.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    vfs: &'a Vfs,
    _hold: RwLockReadGuard<'a, ()>,
}

impl<'a> Pass<'a> {
    fn new(_: Admitted, vfs: &'a Vfs, hold: RwLockReadGuard<'a, ()>) -> Self {
        Self { vfs, _hold: hold }
    }
}

impl Deref for Pass<'_> {
    type Target = Vfs;

    fn deref(&self) -> &Vfs {
        self.vfs
    }
}

impl Gate {
    pub(super) fn new(vfs: Arc<Vfs>, policy: Arc<Policy>, who: Principal, sight: Sight) -> Self {
        for access in [Access::Read, Access::Write] {
            policy.guarded(&Principal::default(), access).for_each(|name| vfs.scopes().guard(name));
        }
        let (all_read, all_write) = (OnceLock::new(), OnceLock::new());
        Self { vfs, policy, who, sight, known: Mutex::default(), all: AtomicU64::new(NEVER), all_read, all_write }
    }

    pub(super) fn who(&self) -> &Principal {
        &self.who
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The filesystem, for what is no operation of the identity.
    pub(super) fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }

    pub(super) fn scopes(&self) -> &Scopes {
        self.vfs.scopes()
    }

    /// Whether the identity may look at everything that is stored, so that nothing has to be left out.
    pub(super) fn sees_everything(&self) -> Result<bool> {
        Ok(self.admitted_to_all(Access::Read)?.is_some())
    }

    /// Whether the identity may see what is at a path, if there is something. Asks nobody but the policy.
    pub(super) fn sees_path(&self, path: &VPath) -> bool {
        self.policy.admit(&self.who, &Scope::of(path), Access::Read).is_ok()
    }

    /// Whether the identity may change what is at a path, if there is something. Asks nobody but the policy.
    pub(super) fn changes_path(&self, path: &VPath) -> bool {
        self.sees_path(path) && self.policy.admit(&self.who, &Scope::of(path), Access::Write).is_ok()
    }

    /// Looks at a node.
    pub(super) fn look<T>(&self, id: NodeId, look: impl Fn(&Vfs) -> Result<T>) -> Result<T> {
        self.watch(|| self.may_read(id), look, drop)
    }

    /// As [`Gate::look`], for what has to be given back by `discard` when it has to be taken again.
    pub(super) fn look_and_keep<T>(
        &self,
        id: NodeId,
        look: impl Fn(&Vfs) -> Result<T>,
        discard: impl Fn(T),
    ) -> Result<T> {
        self.watch(|| self.may_read(id), look, discard)
    }

    /// Looks at what a name of a directory leads to.
    pub(super) fn look_at_name<T>(
        &self,
        parent: NodeId,
        name: Name<'_>,
        look: impl Fn(&Vfs) -> Result<T>,
    ) -> Result<T> {
        self.watch(|| self.may_reach(parent, name, Access::Read), look, drop)
    }

    /// Lets a look at a node through that is not to be taken twice.
    pub(super) fn look_on(&self, id: NodeId) -> Result<Pass<'_>> {
        let hold = self.scopes().hold();
        let admitted = self.may_read(id)?;
        Ok(Pass::new(admitted, &self.vfs, hold))
    }

    /// Lets a change of a node through.
    pub(super) fn change(&self, id: NodeId) -> Result<Pass<'_>> {
        let hold = self.scopes().hold();
        let admitted = self.may_write(id)?;
        Ok(Pass::new(admitted, &self.vfs, hold))
    }

    /// Lets a new name through.
    pub(super) fn make(&self, parent: NodeId, name: Name<'_>) -> Result<Pass<'_>> {
        let hold = self.scopes().hold();
        let admitted = self.may_reach(parent, name, Access::Create)?;
        Ok(Pass::new(admitted, &self.vfs, hold))
    }

    /// Lets the removal of a name through; of a directory only if nothing of others can be in it.
    pub(super) fn remove(&self, parent: NodeId, name: Name<'_>, directory: bool) -> Result<Pass<'_>> {
        let hold = self.scopes().hold();
        let admitted = self.may_reach(parent, name, Access::Write)?;
        if directory && !self.admits_all(Access::Write)? {
            self.whole(&self.directory(parent)?.scope.below(name))?;
        }
        Ok(Pass::new(admitted, &self.vfs, hold))
    }

    /// Lets a change through that looked at its scopes itself, under `hold`.
    pub(super) fn pass<'a>(&'a self, admitted: Admitted, hold: RwLockReadGuard<'a, ()>) -> Pass<'a> {
        Pass::new(admitted, &self.vfs, hold)
    }

    /// The filesystem for a move that was admitted under `_moving`.
    pub(super) fn during<'a>(&'a self, _: Admitted, _moving: &Moving<'a>) -> &'a Vfs {
        &self.vfs
    }

    /// Refuses a directory at `scope` that may hold what this identity has no access to: the answer must not depend on
    /// whether it does.
    pub(super) fn whole(&self, scope: &Scope) -> Result<()> {
        if self.policy.is_whole(&self.who, scope) {
            return Ok(());
        }
        Err(advice::refusal(
            ErrorKind::Denied,
            format!("move or remove {}", shown(scope)),
            "it belongs to no tenant or agent alone",
            "an administrator can do that",
        ))
    }

    /// Whether the identity sees a node.
    pub(super) fn sees(&self, id: NodeId) -> Result<bool> {
        match self.may_read(id) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Admission to look at a node.
    pub(super) fn may_read(&self, id: NodeId) -> Result<Admitted> {
        if let Some(admitted) = self.admitted_to_all(Access::Read)? {
            return Ok(admitted);
        }
        self.standing(id)?.read.map_err(|_| not_found())
    }

    /// Admission to change a node.
    pub(super) fn may_write(&self, id: NodeId) -> Result<Admitted> {
        if let Some(admitted) = self.admitted_to_all(Access::Write)? {
            return Ok(admitted);
        }
        let standing = self.standing(id)?;
        standing.read.map_err(|_| not_found())?;
        standing.write.map_err(|refusal| self.denied(&standing.scope, refusal))
    }

    /// Admission to what a name leads to, or would.
    pub(super) fn may_reach(&self, parent: NodeId, name: Name<'_>, access: Access) -> Result<Admitted> {
        let creates_in_root = access == Access::Create && parent == NodeId::ROOT;
        let all = if access == Access::Read { Access::Read } else { Access::Write };
        if !creates_in_root && let Some(admitted) = self.admitted_to_all(all)? {
            return Ok(admitted);
        }
        let above = self.directory(parent)?;
        above.read.map_err(|_| not_found())?;
        self.admit(&above.scope.below(name), access).or_else(|refused| {
            // mkdir(2) of a name that is taken says so before anything else.
            match self.vfs.lookup(parent, name) {
                Ok(_) if refused.is_strict => self.policy.admit(&self.who, &above.scope, Access::Write).ok(),
                _ => None,
            }
            .ok_or(refused.error)
        })
    }

    /// Admission to a place, whatever stands there.
    fn admit(&self, scope: &Scope, access: Access) -> std::result::Result<Admitted, Refused> {
        let refuse = |error, refusal| Refused { error, is_strict: refusal == Refusal::UnknownNamespace };
        if self.sight == Sight::Hidden
            && matches!(access, Access::Read | Access::Write)
            && let Err(refusal) = self.policy.admit(&self.who, scope, Access::Read)
        {
            return Err(refuse(not_found(), refusal));
        }
        self.policy.admit(&self.who, scope, access).map_err(|refusal| refuse(self.denied(scope, refusal), refusal))
    }

    /// As [`Gate::admit`], with the error alone.
    pub(super) fn admit_place(&self, scope: &Scope, access: Access) -> Result<Admitted> {
        self.admit(scope, access).map_err(|refused| refused.error)
    }

    /// Where a node stands; `NotFound` for one that is gone.
    pub(super) fn standing(&self, id: NodeId) -> Result<Standing> {
        self.find(id, false)
    }

    /// Where a directory stands, which is remembered wherever it is.
    pub(super) fn directory(&self, id: NodeId) -> Result<Standing> {
        self.find(id, true)
    }

    /// A name that leads to a node was found: where it stands needs not be looked up.
    pub(super) fn note(&self, parent: NodeId, name: Name<'_>, id: NodeId, is_directory: bool) -> Result<()> {
        if self.admits_all(Access::Read)? && self.admits_all(Access::Write)? {
            return Ok(());
        }
        let generation = self.scopes().generation();
        let above = self.directory(parent)?;
        self.remember(id, is_directory, generation, &above, name);
        Ok(())
    }

    /// The kernel has dropped a node.
    pub(super) fn forget(&self, id: NodeId) {
        let mut known = self.known.lock();
        if !known.is_empty() {
            known.remove(&id);
        }
    }

    /// Walks up to what is known, and back down.
    fn find(&self, id: NodeId, is_directory: bool) -> Result<Standing> {
        let generation = self.scopes().generation();
        let mut below: Vec<(NodeId, Vec<u8>)> = Vec::new();
        let mut at = id;
        let mut climb = Climb::from(id);
        let mut standing = loop {
            if at == NodeId::ROOT {
                break self.judge(Scope::root().into());
            }
            if let Some(known) = self.known.lock().get(&at).filter(|known| known.generation == generation) {
                break known.standing.clone();
            }
            match self.vfs.names_of(at)?.into_iter().next() {
                Some((parent, name)) => {
                    climb.step(parent)?;
                    below.push((at, name));
                    at = parent;
                }
                None => break self.nameless()?,
            }
        };
        self.vfs.stats().places.note(below.is_empty());
        while let Some((node, name)) = below.pop() {
            let is_directory = is_directory || !below.is_empty();
            standing = self.remember(node, is_directory, generation, &standing, Name::new(&name)?);
        }
        Ok(standing)
    }

    /// What has no name and is not open: gone, or never there.
    fn nameless(&self) -> Result<Standing> {
        let root = self.judge(Scope::root().into());
        if self.policy.is_whole(&self.who, &root.scope) { Ok(root) } else { Err(not_found()) }
    }

    fn remember(&self, id: NodeId, is_directory: bool, generation: u64, above: &Standing, name: Name<'_>) -> Standing {
        let is_deep = above.scope.is_deep();
        let standing = if is_deep { above.clone() } else { self.judge(above.scope.below(name).into()) };
        // The name of a file counts near the root, and renaming files outdates nothing: its place is looked up each time.
        if !is_deep && !is_directory {
            return standing;
        }
        let full = {
            let mut known = self.known.lock();
            known.insert(id, Known { generation, standing: standing.clone() });
            known.len() > KNOWN_MAX
        };
        if full {
            self.forget_half();
        }
        standing
    }

    /// Drops what can be looked up again: half of the nodes that have a name.
    fn forget_half(&self) {
        let some: Vec<_> = self.known.lock().keys().copied().take(KNOWN_MAX / 2).collect();
        for id in some {
            if self.vfs.names_of(id).is_ok_and(|names| !names.is_empty()) {
                self.known.lock().remove(&id);
            }
        }
    }

    fn judge(&self, scope: Arc<Scope>) -> Standing {
        let read = self.policy.admit(&self.who, &scope, Access::Read);
        let write = self.policy.admit(&self.who, &scope, Access::Write);
        Standing { scope, read, write }
    }

    /// Whether nothing in the store is refused to this identity.
    pub(super) fn admits_all(&self, access: Access) -> Result<bool> {
        Ok(self.admitted_to_all(access)?.is_some())
    }

    fn admitted_to_all(&self, access: Access) -> Result<Option<Admitted>> {
        const READ: u64 = 1;
        const WRITE: u64 = 2;
        let generation = self.scopes().generation();
        let mut all = self.all.load(Ordering::Acquire);
        if all >> 2 != generation {
            let present = |name: Name<'_>| match self.vfs.lookup(NodeId::ROOT, name) {
                Ok(_) => Ok(true),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
                Err(e) => Err(e),
            };
            all = generation << 2;
            for (access, bit, slot) in [(Access::Read, READ, &self.all_read), (Access::Write, WRITE, &self.all_write)] {
                if let Some(admitted) = self.policy.admit_all(&self.who, access, present)? {
                    slot.get_or_init(|| admitted);
                    all |= bit;
                }
            }
            self.all.store(all, Ordering::Release);
        }
        let (bit, slot) = if access == Access::Read { (READ, &self.all_read) } else { (WRITE, &self.all_write) };
        Ok(if all & bit != 0 { slot.get().copied() } else { None })
    }

    /// Looks, and looks again with everything kept in its place if something moved meanwhile.
    fn watch<T>(
        &self,
        admit: impl Fn() -> Result<Admitted>,
        look: impl Fn(&Vfs) -> Result<T>,
        discard: impl Fn(T),
    ) -> Result<T> {
        let before = self.scopes().generation();
        if before.is_multiple_of(2) {
            let outcome = admit().and_then(|_| look(&self.vfs));
            if self.scopes().generation() == before {
                return outcome;
            }
            outcome.map(discard).ok();
        }
        let _hold = self.scopes().hold();
        admit()?;
        look(&self.vfs)
    }

    fn denied(&self, scope: &Scope, refusal: Refusal) -> Error {
        let kind = match refusal {
            Refusal::ReadOnly => ErrorKind::ReadOnly,
            Refusal::AdminOnly | Refusal::OtherTenant | Refusal::OtherAgent | Refusal::UnknownNamespace => {
                ErrorKind::Denied
            }
        };
        let identity = match (self.who.tenant(), self.who.agent()) {
            (Some(tenant), Some(agent)) => format!("as agent {agent} of tenant {tenant}"),
            (Some(tenant), None) => format!("as tenant {tenant}"),
            (None, Some(agent)) => format!("as agent {agent}"),
            (None, None) => "without a tenant".into(),
        };
        Error::new(kind, format!("reach {} {identity}", shown(scope))).because(advice::Advice::new(
            refusal.to_string(),
            match refusal {
                Refusal::ReadOnly => "'nexus archive' moves a finished tree into /archives",
                Refusal::AdminOnly => "is_admin: true in the configuration, or --admin, makes an administrator",
                Refusal::UnknownNamespace => "define it under 'namespaces' in the configuration",
                Refusal::OtherTenant | Refusal::OtherAgent => "",
            },
        ))
    }
}

/// A refusal, and whether it only keeps new names out.
struct Refused {
    error: Error,
    is_strict: bool,
}

/// As for a name or a number that does not exist.
pub(super) fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "find a node")
}

/// A scope as a path.
pub(super) fn shown(scope: &Scope) -> String {
    let names = [scope.namespace(), scope.second(), scope.third()];
    let path: String = names.into_iter().flatten().map(|name| format!("/{}", String::from_utf8_lossy(name))).collect();
    if path.is_empty() { "/".into() } else { path }
}
