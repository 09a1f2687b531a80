//! What an operation changed, as others who see the same store have to be told.

use super::NodeId;

/// One thing that is not any more what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Change {
    /// Any byte of a file.
    #[must_use]
    pub fn all_bytes(node: NodeId) -> Self {
        Self::Bytes { node, from: 0, to: u64::MAX }
    }
}
