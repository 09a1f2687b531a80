//! Names that go while somebody uses what they led to: what a local disk allows then, a mount does too.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::fs::{Mode, OFlags};

use crate::harness::{Mounted, bytes};

#[test]
fn a_file_held_by_its_path_alone_can_be_opened_after_its_removal() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        for length in [0, 100, 100_000, 3 << 20] {
            let (path, body) = (place.join("held"), bytes(3, length));
            fs::write(&path, &body).unwrap();
            let held = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
            fs::remove_file(&path).unwrap();
            let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
            for turn in 0..2 {
                let shown = format!("{length} bytes on {}, turn {turn}", place.display());
                assert_eq!(fs::read(&again).unwrap(), body, "{shown}");
                assert_eq!(fs::metadata(&again).unwrap().nlink(), 0, "{shown}");
            }
            fs::write(&again, b"more").unwrap();
            assert_eq!(fs::read(&again).unwrap(), b"more");
        }
    }
    mounted.finish();
}

#[test]
fn a_removed_file_gives_its_space_back() {
    let mounted = Mounted::new();
    let path = mounted.path("file");
    for turn in 0..20 {
        fs::write(&path, bytes(turn, 2 << 20)).unwrap();
        let held = File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        drop(held);
    }
    // Nothing is left of them, in the database or beside it: `finish` looks.
    mounted.finish();
}

#[test]
fn a_working_directory_that_is_removed_stays_one() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let path = place.join("here");
        fs::create_dir(&path).unwrap();
        let script =
            "rmdir ../here && stat -c '%h %F' . && ls -a . && ! touch file 2>/dev/null && ! cd ../here 2>/dev/null";
        let said = Command::new("sh").args(["-c", script]).current_dir(&path).output().unwrap();
        assert!(said.status.success(), "{}: {said:?}", place.display());
        assert_eq!(String::from_utf8_lossy(&said.stdout), "0 directory\n", "{}", place.display());
    }
    mounted.finish();
}

/// Between the look at a name and the open of what it led to, another may remove it.
#[test]
fn a_file_can_always_be_created_where_others_remove_it() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        thread::scope(|scope| {
            for worker in 0..4 {
                let place = &place;
                scope.spawn(move || {
                    for turn in worker..worker + 1_500 {
                        let name = |number: usize| place.join(format!("file-{}", number % 5));
                        fs::write(name(turn), b"written").unwrap();
                        drop(fs::remove_file(name(turn + 2)));
                        if let Ok(body) = fs::read(name(turn + 1)) {
                            assert!(body.is_empty() || body == b"written", "{body:?} in {}", place.display());
                        }
                    }
                });
            }
        });
    }
    mounted.finish();
}

#[test]
fn a_file_that_is_replaced_all_the_time_can_always_be_read() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let path = place.join("file");
        fs::write(&path, bytes(0, 500)).unwrap();
        thread::scope(|scope| {
            for writer in 0..2 {
                let path = &path;
                scope.spawn(move || {
                    let new = path.with_extension(writer.to_string());
                    for turn in 0..1_000 {
                        fs::write(&new, bytes(turn, 500)).unwrap();
                        fs::rename(&new, path).unwrap();
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| (0..2_000).for_each(|_| assert_eq!(fs::read(&path).unwrap().len(), 500)));
            }
        });
    }
    mounted.finish();
}

#[test]
fn a_program_that_runs_is_neither_written_nor_emptied() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let path = place.join("program");
        fs::copy(program("sleep"), &path).unwrap();
        let before = fs::read(&path).unwrap();
        let mut running = Command::new(&path).arg("100").stdin(Stdio::null()).spawn().unwrap();
        let attempts = [
            OpenOptions::new().write(true).open(&path),
            OpenOptions::new().write(true).truncate(true).open(&path),
            OpenOptions::new().read(true).custom_flags(libc::O_TRUNC).open(&path),
        ];
        for attempt in attempts {
            assert_eq!(attempt.unwrap_err().raw_os_error(), Some(libc::ETXTBSY), "{}", place.display());
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{}", place.display());
        running.kill().unwrap();
        running.wait().unwrap();
        drop(OpenOptions::new().write(true).truncate(true).open(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }
    mounted.finish();
}

/// Where a program is, by PATH.
fn program(name: &str) -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| Path::is_file(file)).unwrap()
}
