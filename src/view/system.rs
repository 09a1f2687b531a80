//! `/system`: what there is to know about the store, as files for administrators.
//!
//! Computed when a file is opened, so what is read from one descriptor is of one moment. Files of figures show no size,
//! as those of proc(5).

use std::sync::Arc;

use super::metrics;
use super::virtuals::{Listing, Place, Tree, TreeEntry};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Attr, Kind, Name, NodeId, Timestamp, rfc3339};
use crate::policy::SYSTEM;
use crate::vfs::{FORMAT, Vfs};

/// The files, in the order of their places from 1 on.
const FILES: [(&str, What); 4] = [
    ("config.yaml", What::Configuration),
    ("metrics", What::Metrics),
    ("status.json", What::Status),
    ("version", What::Version),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Configuration,
    Metrics,
    Status,
    Version,
}

/// The tree.
#[derive(Debug)]
pub(super) struct System {
    vfs: Arc<Vfs>,
    configuration: String,
    since: Timestamp,
}

impl System {
    /// `configuration`: the text of `config.yaml`.
    pub(super) fn new(vfs: Arc<Vfs>, configuration: String) -> Self {
        Self { vfs, configuration, since: Timestamp::now() }
    }

    fn text(&self, what: What) -> Result<String> {
        match what {
            What::Configuration => Ok(self.configuration.clone()),
            What::Version => Ok(format!("nexus {} (store format {FORMAT})\n", env!("CARGO_PKG_VERSION"))),
            What::Status => self.status(),
            What::Metrics => metrics::text(&self.vfs),
        }
    }

    fn status(&self) -> Result<String> {
        let figures = self.vfs.figures()?;
        let (live, handles) = self.vfs.in_use();
        let room = self.vfs.statfs()?;
        let status = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "format": FORMAT,
            "read_only": self.vfs.is_read_only(),
            "failed": self.vfs.is_broken(),
            "since": rfc3339(self.since),
            "directories": figures.directories,
            "files": figures.files,
            "other_nodes": figures.others,
            "file_bytes": figures.file_bytes,
            "bodies": figures.bodies,
            "body_bytes": figures.body_bytes,
            "small_bodies": figures.small_bodies,
            "drafts": figures.drafts,
            "live_files": live,
            "open_handles": handles,
            "disk_bytes_free": room.blocks_available * u64::from(room.block_size),
            "disk_bytes_total": room.blocks * u64::from(room.block_size),
        });
        let mut text = serde_json::to_string_pretty(&status)
            .map_err(|e| Error::new(ErrorKind::Io, "write the status as JSON").because(e))?;
        text.push('\n');
        Ok(text)
    }

    fn what(place: Place) -> Result<What> {
        let index = usize::try_from(place.0).ok().and_then(|at| at.checked_sub(1));
        let file = index.and_then(|index| FILES.get(index)).map(|(_, what)| *what);
        file.ok_or_else(|| Error::new(ErrorKind::NotFound, "find a file about the store"))
    }
}

impl Tree for System {
    fn name(&self) -> &'static [u8] {
        SYSTEM.as_bytes()
    }

    fn attr(&self, at: Place) -> Result<Attr> {
        let is_root = at == Place::ROOT;
        let size = match if is_root { None } else { Some(Self::what(at)?) } {
            // Of figures the size is not known before they are counted.
            None | Some(What::Metrics | What::Status) => 0,
            Some(what) => self.text(what)?.len() as u64,
        };
        Ok(Attr {
            id: NodeId::ROOT,
            kind: if is_root { Kind::Directory } else { Kind::File },
            mode: if is_root { 0o555 } else { 0o444 },
            uid: 0,
            gid: 0,
            rdev: 0,
            nlink: if is_root { 2 } else { 1 },
            size,
            blocks: 0,
            atime: self.since,
            mtime: self.since,
            ctime: self.since,
            btime: self.since,
        })
    }

    fn lookup(&self, directory: Place, name: Name<'_>) -> Result<(Place, Attr)> {
        if directory != Place::ROOT {
            return Err(Error::new(ErrorKind::NotADirectory, "look up a name in a file about the store"));
        }
        let found = FILES.iter().position(|(file, _)| file.as_bytes() == name.as_bytes());
        let place = found.map(|at| Place(at as u64 + 1));
        let place = place.ok_or_else(|| Error::new(ErrorKind::NotFound, "look up a name"))?;
        Ok((place, self.attr(place)?))
    }

    fn open_directory(&self, directory: Place) -> Result<Box<dyn Listing>> {
        if directory != Place::ROOT {
            return Err(Error::new(ErrorKind::NotADirectory, "list a file about the store"));
        }
        let entry = |(at, (name, _)): (usize, &(&str, What))| TreeEntry {
            name: name.as_bytes().to_vec(),
            place: Place(at as u64 + 1),
            kind: Kind::File,
        };
        Ok(Box::new(FILES.iter().enumerate().map(entry).collect::<Vec<_>>()))
    }

    fn read_file(&self, file: Place) -> Result<Vec<u8>> {
        if file == Place::ROOT {
            return Err(Error::new(ErrorKind::IsADirectory, "read a directory as a file"));
        }
        Ok(self.text(Self::what(file)?)?.into_bytes())
    }
}
