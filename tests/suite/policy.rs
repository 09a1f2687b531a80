//! Namespaces, tenants and agents: what each identity may do where, and that what is another's is not there.

mod isolation;
mod mounted;
mod moves;
mod operation;
mod table;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use nexus::model::{Caller, Name, NodeId, Principal, Timestamp, VPath};
use nexus::policy::{Namespace, Policy};
use nexus::vfs::{OpenMode, StoreOptions, Vfs};
use nexus::view::{Settings, Sight, View};

pub(crate) const CALLER: Caller = Caller { uid: 1000, gid: 100 };
pub(crate) const READ: OpenMode = OpenMode::READ;
pub(crate) const WRITE: OpenMode = OpenMode { write: true, truncate: true, ..READ };

thread_local! {
    /// The time, as far as the operations of this thread are concerned.
    static NOW: Cell<i64> = const { Cell::new(1_700_000_000_000_000_000) };
}

fn clock() -> Timestamp {
    Timestamp(NOW.get())
}

/// A fresh store, with the clock of this thread.
pub(crate) fn store(below: &Path, name: &str) -> Arc<Vfs> {
    let data_dir = below.join(name);
    Vfs::init(&data_dir, CALLER, clock).unwrap();
    Vfs::open_store(StoreOptions { data_dir, read_only: false, clock }).unwrap()
}

/// `acme`, `acme/a1`, an empty text for nobody in particular, with `+` behind it for an administrator.
pub(crate) fn who(text: &str) -> Principal {
    let (name, is_admin) = text.strip_suffix('+').map_or((text, false), |name| (name, true));
    let (tenant, agent) = name.split_once('/').map_or((name, ""), |parts| parts);
    let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Principal::new(part(tenant), part(agent), is_admin).unwrap()
}

/// The built-in namespaces and one of each other sort.
pub(crate) fn policy() -> Arc<Policy> {
    let open = |name: &str| Namespace { requires_tenant: false, ..Namespace::new(name) };
    let audit = Namespace { admin_only: true, ..open("audit") };
    let frozen = Namespace { readonly: true, ..open("frozen") };
    Arc::new(Policy::new(vec![Namespace::new("models"), open("plain"), audit, frozen], false).unwrap())
}

pub(crate) fn view(vfs: &Arc<Vfs>, text: &str, sight: Sight) -> Arc<View> {
    let settings = Settings { principal: who(text), policy: policy(), sight, configuration: "mode: embedded\n".into() };
    View::with(Arc::clone(vfs), settings)
}

pub(crate) fn path(text: &str) -> VPath {
    VPath::parse(text.as_bytes()).unwrap()
}

/// Makes a directory and all above it, whatever the policy.
pub(crate) fn make_all(vfs: &Vfs, text: &str) -> NodeId {
    path(text).names().fold(NodeId::ROOT, |above, name| match vfs.lookup(above, name) {
        Ok(there) => there.id,
        Err(_) => vfs.mkdir(&CALLER, above, name, 0o755).unwrap().id,
    })
}

/// Makes a file with this content, whatever the policy.
pub(crate) fn put(vfs: &Vfs, directory: NodeId, name: &str, content: &[u8]) -> NodeId {
    let name = Name::new(name.as_bytes()).unwrap();
    let (attr, opened) = vfs.create(&CALLER, directory, name, 0o644, WRITE).unwrap();
    vfs.write(opened.handle, 0, content).unwrap();
    vfs.release(opened.handle).unwrap();
    attr.id
}

/// The end of every store: closed, and clean.
pub(crate) fn end(vfs: &Arc<Vfs>) {
    vfs.settle().unwrap();
    let report = vfs.check().unwrap();
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
    vfs.close().unwrap();
}
