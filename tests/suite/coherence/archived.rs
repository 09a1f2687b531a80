//! Trees that are archived while mounts look: a name that has been listed in an archive leads to a whole tree from then on,
//! and one that is gone where it was is there.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nexus::model::VPath;

use super::store::{ROOT, Shared};

const TREES: usize = 60;
/// Files in each, half of them a directory deeper.
const FILES: usize = 6;

#[test]
fn what_is_listed_in_an_archive_is_there_as_a_whole() {
    let shared = Shared::new(3, |_, _| {});
    let (here, archive) = (shared.place(0).join("runs"), "archives/acme");
    for tree in 0..TREES {
        let top = here.join(format!("run{tree}"));
        fs::create_dir_all(top.join("deep")).unwrap();
        for file in 0..FILES {
            let name = if file % 2 == 0 { format!("f{file}") } else { format!("deep/f{file}") };
            fs::write(top.join(name), format!("{tree}.{file}")).unwrap();
        }
    }
    let over = AtomicBool::new(false);
    let looks: usize = thread::scope(|scope| {
        let lookers: Vec<_> = shared
            .places()
            .iter()
            .map(|place| {
                let over = &over;
                scope.spawn(move || {
                    let mut looks = 0;
                    // Once more when it is over: then nothing is missing.
                    loop {
                        let last = over.load(Ordering::SeqCst);
                        looks += look(place, archive, last);
                        if last {
                            break looks;
                        }
                    }
                })
            })
            .collect();
        for tree in 0..TREES {
            let source = VPath::parse(format!("/runs/run{tree}").as_bytes()).unwrap();
            let target = VPath::parse(format!("/{archive}/run{tree}").as_bytes()).unwrap();
            shared.library.archive(&ROOT, &source, Some(&target)).unwrap();
            // Answered, and so seen everywhere.
            for place in shared.places() {
                assert!(is_whole(&place.join(archive).join(format!("run{tree}"))), "{}", place.display());
                let gone = fs::symlink_metadata(place.join(format!("runs/run{tree}"))).unwrap_err();
                assert_eq!(gone.kind(), ErrorKind::NotFound, "{}", place.display());
            }
        }
        over.store(true, Ordering::SeqCst);
        lookers.into_iter().map(|looker| looker.join().unwrap()).sum()
    });
    println!("{looks} trees looked at");
    shared.finish();
}

/// Lists both places on one mount, as `ls -R` does; how many trees it saw.
fn look(place: &Path, archive: &str, all: bool) -> usize {
    let listed = |dir: &Path| match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.unwrap().file_name()).collect(),
        // The first tree makes the archive.
        Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
        Err(e) => panic!("{}: {e}", dir.display()),
    };
    let (runs, archive) = (place.join("runs"), place.join(archive));
    // One that is listed where it was may be archived by now; then it is in the archive.
    for name in listed(&runs) {
        let whole = is_whole(&runs.join(&name)) || is_whole(&archive.join(&name));
        assert!(whole, "{name:?} is neither here nor there on {}", place.display());
    }
    let archived = listed(&archive);
    for name in &archived {
        assert!(is_whole(&archive.join(name)), "{name:?} was listed on {}", place.display());
    }
    assert!(!all || archived.len() == TREES, "{} of {TREES} on {}", archived.len(), place.display());
    archived.len()
}

/// Whether the whole tree is there; `false` only for one that is not there at all, or goes meanwhile.
fn is_whole(top: &Path) -> bool {
    let tree = top.file_name().unwrap().to_str().unwrap().trim_start_matches("run").to_owned();
    (0..FILES).all(|file| {
        let name = if file % 2 == 0 { format!("f{file}") } else { format!("deep/f{file}") };
        match fs::read_to_string(top.join(name)) {
            Ok(text) => {
                assert_eq!(text, format!("{tree}.{file}"));
                true
            }
            Err(e) if e.kind() == ErrorKind::NotFound => false,
            Err(e) => panic!("{}: {e}", top.display()),
        }
    })
}
