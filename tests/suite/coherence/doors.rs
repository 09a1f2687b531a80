//! One store with every door there is: four mounts of one daemon, two over io_uring and two over /dev/fuse, two programs
//! that use the library, and the commands.
//!
//! A look through any of them is the same line of text, made by [`look`](crate::library::program::look) where there is a
//! library and here where there is none.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nexus::client::{self, MountWish};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Outcome, Switch, is_mounted, is_running, nexus, run, scratch, sha256, unmount_below, wait_until};
use crate::library::program::Program;

/// How each mount is made.
const MOUNTS: [&str; 4] = [
    "transport=io_uring,locks=store",
    "transport=dev_fuse,locks=store",
    "transport=io_uring,locks=store,no_passthrough",
    "transport=dev_fuse,locks=store",
];
/// How many doors there are: the mounts, the programs, the commands.
pub(super) const DOORS: usize = MOUNTS.len() + PROGRAMS + 1;
const PROGRAMS: usize = 2;

/// A way into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Mount(usize),
    Program(usize),
    Command,
}

impl Door {
    /// All of them, by number.
    pub(super) fn number(number: usize) -> Self {
        match number {
            0..4 => Self::Mount(number),
            4..6 => Self::Program(number - 4),
            _ => Self::Command,
        }
    }
}

/// The store and its doors.
pub(super) struct Doors {
    base: TempDir,
    programs: Vec<Program>,
}

impl Doors {
    pub(super) fn new() -> Self {
        let mut doors = Self { base: scratch(), programs: Vec::new() };
        run(nexus().arg("init").arg(doors.data_dir())).ok();
        (0..MOUNTS.len()).for_each(|index| fs::create_dir(doors.place(index)).unwrap());
        doors.mount();
        let data_dir = doors.data_dir();
        doors.programs.extend((0..PROGRAMS).map(|_| Program::start(&data_dir)));
        doors
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.base.path().join("data")
    }

    pub(super) fn place(&self, index: usize) -> PathBuf {
        self.base.path().join(format!("mnt{index}"))
    }

    /// A path of the store as it is on a mount.
    pub(super) fn at(&self, index: usize, path: &str) -> PathBuf {
        self.place(index).join(path.trim_start_matches('/'))
    }

    pub(super) fn program(&mut self, index: usize) -> &mut Program {
        &mut self.programs[index]
    }

    pub(super) fn command(&self, words: &[&str]) -> Outcome {
        run(nexus().args(words).env("NEXUS_DATA_DIR", self.data_dir()))
    }

    /// Starts the daemon with the first mount, and asks it for the others. Whoever has the store hands it over.
    pub(super) fn mount(&self) {
        let _on = Switch::on();
        run(nexus().arg("mount").arg(self.place(0)).args(["-o", MOUNTS[0], "--data-dir"]).arg(self.data_dir())).ok();
        for (index, options) in MOUNTS.iter().enumerate().skip(1) {
            let wish = MountWish {
                mountpoint: self.place(index).into_os_string().into_encoded_bytes(),
                options: vec![(*options).to_owned()],
                tenant: None,
                agent: None,
                is_admin: false,
                rules: None,
            };
            assert!(client::mount(&self.data_dir(), wish).unwrap(), "a daemon has the store");
            assert!(is_mounted(&self.place(index)));
        }
    }

    /// The process that has the store.
    pub(super) fn owner(&self) -> i32 {
        client::status(&self.data_dir()).unwrap().expect("somebody has the store").pid.try_into().unwrap()
    }

    /// What there is at a path, or why nobody can say.
    pub(super) fn look(&mut self, door: Door, path: &str) -> Result<String, String> {
        match door {
            Door::Mount(index) => {
                let at = self.at(index, path);
                look_at(&at).map_err(|e| e.to_string())
            }
            Door::Program(index) => {
                let answer = self.programs[index].does(&format!("look {path}"));
                answer.strip_prefix("ok ").map(ToOwned::to_owned).ok_or(answer)
            }
            Door::Command => self.look_by_command(path),
        }
    }

    fn look_by_command(&self, path: &str) -> Result<String, String> {
        let info = self.command(&["info", "--json", path]);
        if info.code == 3 {
            return Ok("none".into());
        }
        let info: Value = serde_json::from_str(&info.ok().stdout).map_err(|e| e.to_string())?;
        let text = |key: &str| info[0][key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| info[0][key].as_u64().unwrap_or_default();
        let modified: jiff::Timestamp = text("modified_at").parse().map_err(|e: jiff::Error| e.to_string())?;
        let mode = text("mode").trim_start_matches('0').to_owned();
        let common = format!("{} {} {mode} {}", text("path_id"), number("links"), modified.as_nanosecond());
        if text("kind") == "directory" {
            let listed = self.command(&["ls", path]).ok().stdout;
            let names: Vec<_> = listed.lines().map(|line| line.rsplit('/').next().unwrap_or_default()).collect();
            return Ok(format!("{common} dir [{}]", names.join(" ")));
        }
        let body = self.command(&["cat", path]).ok().stdout;
        // Bodies are no text, so what a command prints of them is compared as what it is said to be.
        let etag = text("etag");
        if body.is_empty() != (number("size") == 0) {
            return Err(format!("cat printed {} bytes, and there are {}", body.len(), number("size")));
        }
        let key = self.command(&["meta", "get", path, "k"]);
        let key = if key.code == 3 { "-".to_owned() } else { key.ok().stdout.trim_end().to_owned() };
        Ok(format!("{common} file {} {etag} k={key}.", number("size")))
    }

    /// The mounts are dead, their daemon was killed.
    pub(super) fn kill(&self, daemon: i32) {
        let pid = rustix::process::Pid::from_raw(daemon).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        wait_until("the killed daemon is gone", 60, || !is_running(daemon));
    }

    /// The end of every test: all closed, nothing wrong in the store.
    pub(super) fn finish(mut self) {
        self.programs.drain(..).for_each(Program::end);
        let daemon = self.owner();
        run(nexus().args(["umount", "--all", "--data-dir"]).arg(self.data_dir())).ok();
        wait_until("the daemon has ended", 60, || !is_running(daemon));
        run(nexus().arg("fsck").arg(self.data_dir())).ok();
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        unmount_below(self.base.path());
    }
}

/// As the library looks, through a mount.
pub(super) fn look_at(at: &Path) -> std::io::Result<String> {
    let meta = match fs::symlink_metadata(at) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok("none".into()),
        meta => meta?,
    };
    let modified = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
    let common = format!("{} {} {:o} {modified}", meta.ino(), meta.nlink(), meta.mode() & 0o7777);
    if meta.is_dir() {
        let names: std::io::Result<Vec<_>> =
            fs::read_dir(at)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
        let mut names = names?;
        names.sort();
        return Ok(format!("{common} dir [{}]", names.join(" ")));
    }
    let body = fs::read(at)?;
    let text = |name: &str| Ok(xattr::get(at, name)?.map(|value| String::from_utf8_lossy(&value).into_owned()));
    let text = |name: &str| -> std::io::Result<Option<String>> { text(name) };
    let (key, etag) = (text("user.k")?, text("user.nexus.etag")?.unwrap_or_default());
    let key = key.as_deref().unwrap_or("-");
    if body.len() as u64 != meta.len() {
        return Err(std::io::Error::other(format!("{} bytes read, and stat says {}", body.len(), meta.len())));
    }
    if etag != sha256(&body) {
        return Err(std::io::Error::other(format!("{} bytes read, of which {etag} is not the digest", body.len())));
    }
    Ok(format!("{common} file {} {etag} k={key}.", body.len()))
}
