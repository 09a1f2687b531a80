//! Commands that read: `ls`, `cat`, `tree`, `info`, `find-duplicates`, `du`.

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Args;
use nexus::client::EntryKind;
use nexus::error::{Error, Result};
use serde_json::json;

use super::{Outcome, Store, bytes, output, show};

/// List directories
///
/// One name on a line, in the order of their bytes. A file is listed as itself.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// What to list, absolute
    #[arg(default_value = "/")]
    paths: Vec<OsString>,
    /// With mode, size and time
    #[arg(short, long)]
    long: bool,
    /// And everything below
    #[arg(short = 'R', long)]
    recursive: bool,
    /// As one JSON array, with whole paths
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: Store,
}

impl Ls {
    pub(super) fn run(self, outcome: &mut Outcome) -> Result<()> {
        let nx = self.store.connect()?;
        let mut found = Vec::new();
        let mut text = Vec::new();
        for path in &self.paths {
            let Some(entries) = outcome.note(nx.list(bytes(path), self.recursive)) else { continue };
            if self.json {
                found.extend(entries.iter().map(show::entry));
                continue;
            }
            if self.paths.len() > 1 {
                let gap: &[u8] = if text.is_empty() { b"" } else { b"\n" };
                text.extend([gap, &show::name(bytes(path)), b":\n"].concat());
            }
            let top = nexus::model::VPath::parse(bytes(path))?;
            for entry in &entries {
                if self.long {
                    text.extend(show::columns(entry).into_bytes());
                }
                text.extend_from_slice(&show::name(relative(&entry.path, top.as_bytes())));
                text.push(b'\n');
            }
        }
        if self.json { output::json(&serde_json::Value::from(found)) } else { output::bytes(&text) }
    }
}

/// A path as it is called in a directory that was asked for; the path itself if that was it.
fn relative<'a>(path: &'a [u8], top: &[u8]) -> &'a [u8] {
    let below = path.strip_prefix(top).unwrap_or(path);
    let name = below.strip_prefix(b"/").unwrap_or(below);
    if name.is_empty() { path } else { name }
}

/// Print files
#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// What to print, absolute
    #[arg(required = true)]
    paths: Vec<OsString>,
    #[command(flatten)]
    store: Store,
}

impl Cat {
    pub(super) fn run(self, outcome: &mut Outcome) -> Result<()> {
        let nx = self.store.connect()?;
        let mut to = Stdout { gone: false };
        for path in &self.paths {
            let read = nx.read_to(bytes(path), &mut to);
            if to.gone {
                break;
            }
            outcome.note(read);
        }
        to.flush().map_err(|e| Error::io("writing to standard output", e))
    }
}

/// Standard output that notices when its reader has gone, which is no failure but the end.
struct Stdout {
    gone: bool,
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = io::stdout().lock().write(bytes);
        self.gone |= written.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        match io::stdout().lock().flush() {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

/// Draw a directory and everything below it
#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// Where to begin, absolute
    #[arg(default_value = "/")]
    path: OsString,
    /// As a JSON array of everything below, with whole paths
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: Store,
}

impl Tree {
    pub(super) fn run(self, _: &mut Outcome) -> Result<()> {
        let nx = self.store.connect()?;
        let entries = nx.list(bytes(&self.path), true)?;
        if self.json {
            return output::json(&entries.iter().map(show::entry).collect::<serde_json::Value>());
        }
        let top = nexus::model::VPath::parse(bytes(&self.path))?;
        let mut text = show::name(top.as_bytes()).into_owned();
        text.push(b'\n');
        show::draw(&entries, top.as_bytes(), &mut text);
        let directories = entries.iter().filter(|entry| entry.kind == EntryKind::Directory).count();
        output::bytes(&text)?;
        output::line(format_args!("\n{directories} directories, {} files", entries.len() - directories))
    }
}

/// Tell all about files and directories but their content
#[derive(Debug, Args)]
pub(crate) struct InfoCommand {
    /// What to look at, absolute
    #[arg(required = true)]
    paths: Vec<OsString>,
    /// As one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: Store,
}

impl InfoCommand {
    pub(super) fn run(self, outcome: &mut Outcome) -> Result<()> {
        let nx = self.store.connect()?;
        let mut found = Vec::new();
        for path in &self.paths {
            found.extend(outcome.note(nx.info(bytes(path))).as_ref().map(show::info));
        }
        if self.json {
            return output::json(&serde_json::Value::from(found));
        }
        for (index, info) in found.iter().enumerate() {
            if index > 0 {
                output::line("")?;
            }
            let Some(fields) = info.as_object() else { continue };
            for (key, value) in fields {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                output::bytes(&[format!("{key:<12} ").as_bytes(), &show::name(text.as_bytes()), b"\n"].concat())?;
            }
        }
        Ok(())
    }
}

/// Find files that have the same content
///
/// The files of one content one below the other, an empty line between contents. Each content is stored once, however many
/// files have it.
#[derive(Debug, Args)]
pub(crate) struct FindDuplicates {
    /// Where to look, absolute
    #[arg(default_value = "/")]
    path: OsString,
    /// As one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: Store,
}

impl FindDuplicates {
    pub(super) fn run(self) -> Result<()> {
        let found = self.store.connect()?.find_duplicates(bytes(&self.path))?;
        if self.json {
            let groups = found.iter().map(|group| {
                let paths: Vec<_> = group.paths.iter().map(|path| show::path(path)).collect();
                json!({ "etag": group.etag, "size": group.size, "files": paths })
            });
            return output::json(&groups.collect::<serde_json::Value>());
        }
        let groups = found.iter().map(|group| {
            let lines: Vec<_> = group.paths.iter().map(|path| [&show::name(path)[..], b"\n"].concat()).collect();
            lines.concat()
        });
        output::bytes(&groups.collect::<Vec<_>>().join(&b'\n'))
    }
}

/// Tell what files and trees take
///
/// For each path: the bytes in its files, the bytes that are stored for them (each content counts once), and the path, with
/// tabs between them.
#[derive(Debug, Args)]
pub(crate) struct Du {
    /// What to measure, absolute
    #[arg(default_value = "/")]
    paths: Vec<OsString>,
    /// As one JSON array, with the number of files and directories
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: Store,
}

impl Du {
    pub(super) fn run(self, outcome: &mut Outcome) -> Result<()> {
        let nx = self.store.connect()?;
        let (mut found, mut text) = (Vec::new(), Vec::new());
        for path in &self.paths {
            let Some(usage) = outcome.note(nx.du(bytes(path))) else { continue };
            let mut shown = show::path(bytes(path));
            shown["bytes"] = usage.bytes.into();
            shown["stored_bytes"] = usage.stored_bytes.into();
            shown["files"] = usage.files.into();
            shown["directories"] = usage.directories.into();
            found.push(shown);
            let numbers = format!("{}\t{}\t", usage.bytes, usage.stored_bytes);
            text.extend([numbers.as_bytes(), &show::name(bytes(path)), b"\n"].concat());
        }
        if self.json { output::json(&serde_json::Value::from(found)) } else { output::bytes(&text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_what_was_asked_for() {
        for (path, top, shown) in [("/a", "/", "a"), ("/a/b/c", "/a", "b/c"), ("/a", "/a", "/a")] {
            assert_eq!(relative(path.as_bytes(), top.as_bytes()), shown.as_bytes());
        }
    }
}
