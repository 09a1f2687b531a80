//! What a store is to hold, for a test that changes it through many doors.

use std::collections::BTreeMap;

use crate::harness::sha256;

/// What the store is to hold.
#[derive(Default)]
pub(super) struct Truth {
    /// `None` for a directory, otherwise which file.
    pub(super) names: BTreeMap<String, Option<usize>>,
    /// Bytes and the value of `user.k`. Never removed, because somebody may have it open.
    pub(super) files: Vec<(Vec<u8>, Option<String>)>,
}

impl Truth {
    pub(super) fn is_directory(&self, path: &str) -> bool {
        matches!(self.names.get(path), Some(None))
    }

    pub(super) fn file(&self, path: &str) -> Option<usize> {
        self.names.get(path).copied().flatten()
    }

    /// The names in a directory.
    pub(super) fn below(&self, path: &str) -> Vec<&str> {
        let inside = |name: &&String| name.rsplit_once('/').is_some_and(|(above, _)| above == path);
        self.names.keys().filter(inside).map(|name| name.rsplit('/').next().unwrap()).collect()
    }

    /// Writes a file, which is made if it is not there.
    pub(super) fn write(&mut self, path: &str, body: Vec<u8>) {
        match self.file(path) {
            Some(file) => self.files[file].0 = body,
            None => {
                self.files.push((body, None));
                self.names.insert(path.to_owned(), Some(self.files.len() - 1));
            }
        }
    }

    /// Whether a look shows what is there.
    pub(super) fn check(&self, path: &str, seen: &str) -> Result<(), String> {
        let wanted = match self.names.get(path) {
            None => "none".to_owned(),
            Some(None) => format!("dir [{}]", self.below(path).join(" ")),
            Some(Some(file)) => {
                let (body, key) = &self.files[*file];
                format!("file {} {} k={}.", body.len(), sha256(body), key.as_deref().unwrap_or("-"))
            }
        };
        let shown = seen.split_inclusive(' ').skip(4).collect::<String>();
        let right = if wanted == "none" { seen == wanted } else { shown.starts_with(&wanted) };
        if right { Ok(()) } else { Err(format!("saw '{seen}', and it is '{wanted}'")) }
    }
}
