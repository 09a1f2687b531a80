//! Who may do what where: namespaces, tenants and agents.
//!
//! A decision depends on the identity that asks and on the first three names of a path, and on nothing else: it looks
//! at no store. [`Policy::admit`] makes the only value that says an operation was admitted; whoever wants to see one
//! passed has to ask here. What a refusal is answered (hidden, denied, read-only) is for `view/` to say.
//!
//! | file | what it holds |
//! |---|---|
//! | `namespace` | the table of namespaces: built-in and custom |
//! | `scope` | where a node stands |
//! | `admission` | the checks, in their order |

mod admission;
mod namespace;
mod scope;

pub use admission::{Access, Admitted, Policy, Refusal};
pub use namespace::{ARCHIVES, Namespace, SHARED, SYSTEM, WORKSPACE};
pub use scope::Scope;
