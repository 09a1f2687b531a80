//! Who uses a mount: the processes that keep it from being unmounted, as far as this user may see.
//!
//! Found by reading links below `/proc`, proc_pid_fd(5), which asks the mounted filesystem nothing and so cannot hang on
//! it. Memory maps whose descriptor is closed are not looked for.

use std::fs;
use std::path::{Path, PathBuf};

/// How many are named; a message is read by a person.
const NAMED_MAX: usize = 5;

/// The processes with a working directory, root, program or open file on `mountpoint`: `bash (42), tail (43)`.
pub(super) fn of(mountpoint: &Path) -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter(|process| process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter(|process| uses(&process.path(), mountpoint))
        .take(NAMED_MAX)
        .map(|process| {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("{} ({})", name.trim_end(), process.file_name().display())
        })
        .collect()
}

fn uses(process: &Path, mountpoint: &Path) -> bool {
    let below = |link: PathBuf| fs::read_link(link).is_ok_and(|target| target.starts_with(mountpoint));
    if ["cwd", "root", "exe"].iter().any(|link| below(process.join(link))) {
        return true;
    }
    fs::read_dir(process.join("fd")).is_ok_and(|descriptors| descriptors.flatten().any(|link| below(link.path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_who_works_in_a_directory() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().canonicalize().unwrap();
        assert!(of(&path).is_empty());
        let _open = fs::File::create(path.join("f")).unwrap();
        let users = of(&path);
        assert!(users.iter().any(|user| user.contains(&std::process::id().to_string())), "{users:?}");
    }
}
