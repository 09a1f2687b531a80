//! Where a node stands, as far as policy is concerned: the first three names of its path.

use std::sync::Arc;

use crate::model::{Name, VPath};

/// Names of a path that count.
const NAMES: usize = 3;

/// The first three names of a path: its namespace and, where the namespace has them, its tenant and its agent. All that
/// lies deeper in a tree stands where its third name puts it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    names: [Option<Arc<[u8]>>; NAMES],
}

impl Scope {
    /// That of the root directory, which is in no namespace.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// That of a path.
    #[must_use]
    pub fn of(path: &VPath) -> Self {
        path.names().take(NAMES).fold(Self::root(), |scope, name| scope.below(name))
    }

    /// That of a name in a directory which stands here.
    #[must_use]
    pub fn below(&self, name: Name<'_>) -> Self {
        let mut below = self.clone();
        if let Some(free) = below.names.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(name.as_bytes().into());
        }
        below
    }

    /// The first name; `None` for the root directory.
    #[must_use]
    pub fn namespace(&self) -> Option<&[u8]> {
        self.names[0].as_deref()
    }

    /// The second name.
    #[must_use]
    pub fn second(&self) -> Option<&[u8]> {
        self.names[1].as_deref()
    }

    /// The third name.
    #[must_use]
    pub fn third(&self) -> Option<&[u8]> {
        self.names[2].as_deref()
    }

    /// Whether everything below stands here too.
    #[must_use]
    pub fn is_deep(&self) -> bool {
        self.names[NAMES - 1].is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_three_names_count() {
        let deep = Scope::of(&VPath::parse(b"/workspace/acme/a1/notes/x").unwrap());
        assert_eq!(
            (deep.namespace(), deep.second(), deep.third()),
            (Some(&b"workspace"[..]), Some(&b"acme"[..]), Some(&b"a1"[..]))
        );
        assert!(deep.is_deep());
        assert_eq!(deep, deep.below(Name::new(b"y").unwrap()));
        let shallow = Scope::of(&VPath::parse(b"/docs").unwrap());
        assert_eq!((shallow.namespace(), shallow.second()), (Some(&b"docs"[..]), None));
        assert!(!shallow.is_deep());
        assert_eq!(Scope::of(&VPath::root()), Scope::root());
    }
}
