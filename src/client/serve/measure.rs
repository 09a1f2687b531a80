//! What a tree takes, and what it holds several times.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::request::Item;
use super::super::types::{Duplicate, Usage};
use super::walk::walk;
use super::{Context, Exchange};
use crate::error::{ErrorKind, Result};
use crate::model::{Attr, Kind, NodeId, VPath};

/// Bytes of paths in one item: several items of one body are put together where they arrive.
const ITEM_BYTES: usize = 32 * 1024;

impl Context<'_> {
    pub(super) fn usage(&self, path: &VPath) -> Result<Usage> {
        let mut usage = Usage::default();
        let (mut seen, mut bodies) = (HashSet::new(), HashSet::new());
        self.each(path, &mut |_, attr| {
            match attr.kind {
                Kind::Directory => usage.directories += 1,
                Kind::File if seen.insert(attr.id) => {
                    usage.files += 1;
                    usage.bytes += attr.size;
                    if attr.size > 0 && self.etag(attr.id)?.is_none_or(|etag| bodies.insert(etag)) {
                        usage.stored_bytes += attr.size;
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(usage)
    }

    pub(super) fn duplicates(&self, path: &VPath, exchange: &mut dyn Exchange) -> Result<()> {
        // Only bodies of one size can be the same, and asking for a digest costs more than asking for a size. A file with
        // several names is one file.
        let mut by_size: HashMap<u64, Vec<(NodeId, VPath)>> = HashMap::new();
        let mut seen = HashSet::new();
        self.each(path, &mut |path, attr| {
            if attr.kind == Kind::File && attr.size > 0 && seen.insert(attr.id) {
                by_size.entry(attr.size).or_default().push((attr.id, path));
            }
            Ok(())
        })?;
        by_size.retain(|_, files| files.len() > 1);
        let mut groups: BTreeMap<(VPath, String), (u64, Vec<VPath>)> = BTreeMap::new();
        for (size, files) in by_size {
            let mut by_etag: HashMap<String, Vec<VPath>> = HashMap::new();
            for (id, path) in files {
                if let Some(etag) = self.etag(id)? {
                    by_etag.entry(etag).or_default().push(path);
                }
            }
            for (etag, mut paths) in by_etag {
                if paths.len() > 1 {
                    paths.sort();
                    groups.insert((paths[0].clone(), etag), (size, paths));
                }
            }
        }
        groups.into_iter().try_for_each(|((_, etag), (size, paths))| send(&etag, size, &paths, exchange))
    }

    /// The digest of a file; `None` when it is gone.
    fn etag(&self, id: NodeId) -> Result<Option<String>> {
        match self.told(id, "etag") {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            told => told,
        }
    }

    /// The node at a path and everything below it.
    fn each(&self, path: &VPath, visit: &mut dyn FnMut(VPath, &Attr) -> Result<()>) -> Result<()> {
        let top = self.find(path)?;
        visit(path.clone(), &top)?;
        if top.kind == Kind::Directory {
            walk(self.view, path, top.id, true, visit)?;
        }
        Ok(())
    }
}

fn send(etag: &str, size: u64, paths: &[VPath], exchange: &mut dyn Exchange) -> Result<()> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for (index, path) in paths.iter().enumerate() {
        bytes += path.as_bytes().len();
        batch.push(serde_bytes::ByteBuf::from(path.as_bytes()));
        if bytes > ITEM_BYTES || index + 1 == paths.len() {
            let paths = std::mem::take(&mut batch);
            exchange.item(Item::Duplicate(Duplicate { etag: etag.to_owned(), size, paths }))?;
            bytes = 0;
        }
    }
    Ok(())
}
