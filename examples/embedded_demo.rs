//! A tour of the library without a mount: files, directories, metadata, deduplication, several programs.
//!
//! `cargo run --example embedded_demo`

use nexus::Config;
use nexus::error::{ErrorKind, Result};

/// The whole tour, in a directory that is removed at the end.
pub(crate) fn main() -> Result<()> {
    let directory = tempfile::tempdir().map_err(|e| nexus::error::Error::io("make a directory", e))?;
    let config = Config::at(directory.path().join("nexus-data"))?;
    files(&config)?;
    deduplication(&config)?;
    metadata(&config)?;
    collaboration(&config)
}

/// Write, read, list and delete files; make and remove directories.
fn files(config: &Config) -> Result<()> {
    let nx = nexus::connect(config)?;
    nx.write("/documents/report.pdf", b"PDF content...")?;
    nx.write("/images/photo.jpg", b"JPEG data...")?;
    assert_eq!(nx.read("/documents/report.pdf")?, b"PDF content...");

    let everything = nx.list("/", true)?;
    let paths: Vec<_> = everything.iter().map(|entry| entry.path()).collect();
    assert_eq!(paths, ["/documents", "/documents/report.pdf", "/images", "/images/photo.jpg"]);
    // A path is matched by whole names.
    assert_eq!(nx.list("/doc", true).map_err(|e| e.kind()), Err(ErrorKind::NotFound));

    nx.delete("/images/photo.jpg")?;
    assert!(!nx.exists("/images/photo.jpg")?);

    nx.mkdir("/workspace/agent1/data", true)?;
    assert!(nx.is_directory("/workspace/agent1")?);
    nx.rmdir("/workspace/agent1/data", true)?;
    nx.rename("/documents/report.pdf", "/archive/2026/report.pdf")?;
    nx.close()
}

/// The same content is stored once, however many files have it.
fn deduplication(config: &Config) -> Result<()> {
    let nx = nexus::connect(config)?;
    let content = b"This is important data";
    nx.write("/documents/data.txt", content)?;
    nx.write("/reports/summary.txt", content)?;
    nx.copy("/reports/summary.txt", "/reports/copy.txt", false)?;
    assert_eq!(nx.info("/documents/data.txt")?.refs, Some(3));
    assert_eq!(nx.find_duplicates("/")?.len(), 1);
    let usage = nx.du("/reports")?;
    assert_eq!((usage.bytes, usage.stored_bytes), (44, 22));

    // It stays as long as one of them has it.
    nx.delete("/documents/data.txt")?;
    nx.delete("/reports/copy.txt")?;
    assert_eq!(nx.info("/reports/summary.txt")?.refs, Some(1));
    assert_eq!(nx.read("/reports/summary.txt")?, content);
    nx.close()
}

/// Any file carries metadata of its own: on a mount, extended attributes.
fn metadata(config: &Config) -> Result<()> {
    let nx = nexus::connect(config)?;
    nx.write("/jobs/task1.json", r#"{"task": "process_data"}"#)?;
    nx.metadata().set("/jobs/task1.json", "owner", "ada")?;
    assert_eq!(nx.metadata().get("/jobs/task1.json", "owner")?, "ada");
    let number = nx.info("/jobs/task1.json")?.path_id;
    nx.rename("/jobs/task1.json", "/done/task1.json")?;
    // Metadata and number go with the file, not with its name.
    assert_eq!(nx.metadata().list("/done/task1.json")?.len(), 1);
    assert_eq!(nx.info("/done/task1.json")?.path_id, number);
    nx.close()
}

/// Several connections, here of threads, as well of programs: one of them gets what all want.
fn collaboration(config: &Config) -> Result<()> {
    let winners: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|agent| {
                scope.spawn(move || {
                    let nx = nexus::connect(config)?;
                    let won = nx.write_new("/lock", format!("agent {agent}")).is_ok();
                    nx.append("/log", format!("agent {agent} was here\n"))?;
                    nx.close().map(|()| won)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("the agents do not panic"));
        joined.collect::<Result<_>>()
    })?;
    assert_eq!(winners.iter().filter(|won| **won).count(), 1);
    let nx = nexus::connect(config)?;
    assert_eq!(nx.read("/log")?.iter().filter(|byte| **byte == b'\n').count(), 8);
    nx.close()
}
