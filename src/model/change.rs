//! What an operation changed, as others who see the same store have to be told.

use super::NodeId;

/// One thing that is not any more what it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A name of a directory was made, removed, or leads elsewhere.
    Name {
        /// The directory.
        parent: NodeId,
        /// The name.
        name: Box<[u8]>,
    },
    /// What stat(2) tells of a node.
    Attributes(NodeId),
    /// Bytes of a file, and with them its attributes.
    Bytes {
        /// The file.
        node: NodeId,
        /// The first byte that may be another one.
        from: u64,
        /// Behind the last; `u64::MAX` for all that follow.
        to: u64,
    },
    /// So much that nobody can say it singly.
    Everything,
}

/// The most changes that are said singly: an import may make more than memory holds.
const SINGLE_MAX: usize = 65_536;

impl Change {
    /// Adds this to what one operation has changed.
    pub fn add_to(self, changes: &mut Vec<Self>) {
        if changes.len() >= SINGLE_MAX {
            changes.clear();
            changes.push(Self::Everything);
        }
        if changes.first() != Some(&Self::Everything) {
            changes.push(self);
        }
    }

    /// Any byte of a file.
    #[must_use]
    pub fn all_bytes(node: NodeId) -> Self {
        Self::Bytes { node, from: 0, to: u64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_become_one() {
        let mut changes = Vec::new();
        for number in 0..SINGLE_MAX as u64 {
            Change::Attributes(NodeId(number)).add_to(&mut changes);
        }
        assert_eq!(changes.len(), SINGLE_MAX);
        for _ in 0..2 {
            Change::Attributes(NodeId(1)).add_to(&mut changes);
            assert_eq!(changes, [Change::Everything]);
        }
    }
}
