//! All doors at once: a change through one of four mounts, one of two programs or a command, then looks through others.
//! "every read sees the last finished write".

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};

use super::doors::{DOORS, Door, Doors};
use super::truth::Truth;
use crate::harness::{Random, bytes, seed};

const STEPS: usize = 10_000;
/// A command costs the start of a process, several for a look: one step of so many.
const COMMANDS_ONE_OF: u64 = 60;
/// Directories that come and go, and the two they stand in.
const DIRECTORIES: [&str; 4] = ["/d0", "/d1", "/d0/s", "/d1/s"];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// A row, a small file, files that are drafts on the disk for a while.
const SIZES: [u64; 6] = [0, 3, 4096, 20_000, 70_000, 300_000];
/// Files that stay open for reading on each mount.
const OPEN_MAX: usize = 3;

struct Driver {
    doors: Doors,
    truth: Truth,
    random: Random,
    open: [Vec<(usize, File)>; 4],
    log: Vec<String>,
}

#[test]
fn every_look_through_every_door_sees_the_last_change() {
    let seed = seed();
    println!("NEXUS_TEST_SEED={seed}");
    let mut driver = Driver {
        doors: Doors::new(),
        truth: Truth::default(),
        random: Random(seed),
        open: Default::default(),
        log: Vec::new(),
    };
    for directory in ["/d0", "/d1"] {
        fs::create_dir(driver.doors.at(0, directory)).unwrap();
        driver.truth.names.insert(directory.to_owned(), None);
    }
    for step in 0..STEPS {
        let (one, two) = driver.change();
        // What was changed each time, and what has to be as it was now and then.
        let (of_two, other) = (driver.random.below(3) == 0, driver.random.below(3) == 0);
        for path in [Some(one), of_two.then_some(two), other.then(|| driver.path())].into_iter().flatten() {
            if let Err(wrong) = driver.compare(&path) {
                let log = driver.log[driver.log.len().saturating_sub(30)..].join("\n");
                panic!("step {step}, NEXUS_TEST_SEED={seed}: {path}: {wrong}\nafter\n{log}");
            }
        }
        driver.log.drain(..driver.log.len().saturating_sub(60));
    }
    driver.open = Default::default();
    driver.doors.finish();
}

impl Driver {
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len() as u64) as usize]
    }

    fn door(&mut self) -> Door {
        if self.random.below(COMMANDS_ONE_OF) == 0 {
            return Door::Command;
        }
        Door::number(self.random.below(DOORS as u64 - 1) as usize)
    }

    /// A file, or one of the directories that come and go.
    fn path(&mut self) -> String {
        if self.random.below(6) == 0 {
            return self.pick(&DIRECTORIES[2..]).to_owned();
        }
        format!("{}/{}", self.pick(&DIRECTORIES), self.pick(&NAMES))
    }

    /// One change that must succeed, or none; the paths it is about.
    fn change(&mut self) -> (String, String) {
        let door = self.door();
        let (one, two) = (self.path(), self.path());
        let above = |path: &str| path.rsplit_once('/').unwrap().0.to_owned();
        let there = |truth: &Truth, path: &str| truth.is_directory(&above(path));
        let (file, directory) = (self.truth.file(&one), self.truth.is_directory(&one));
        let named_directory = DIRECTORIES.contains(&one.as_str());
        let what = match self.random.below(13) {
            0..4 if there(&self.truth, &one) && !named_directory => "write",
            4 if file.is_some() => "append",
            5 if file.is_some() => "delete",
            6 if file.is_some()
                && there(&self.truth, &two)
                && !DIRECTORIES.contains(&two.as_str())
                && file != self.truth.file(&two) =>
            {
                "rename"
            }
            7 if file.is_some() => "key",
            8 if named_directory && !self.truth.names.contains_key(&one) => "mkdir",
            9 if directory && self.truth.below(&one).is_empty() => "rmdir",
            10 if directory && DIRECTORIES.contains(&two.as_str()) && !self.truth.names.contains_key(&two) => "move",
            11 | 12 if file.is_some() => "mount",
            _ => "look",
        };
        let (seed, size) = (self.random.next(), self.pick(&SIZES));
        self.log.push(format!("{door:?} {what} {one} {two} {size}"));
        if what == "mount" {
            self.through_a_mount(&one, &two, seed, size);
        } else if what != "look" {
            self.carry_out(door, what, (&one, &two), seed, size);
            self.note(what, (&one, &two), seed, size);
        }
        (one, two)
    }

    /// What every door offers.
    fn carry_out(&mut self, door: Door, what: &str, (one, two): (&str, &str), seed: u64, size: u64) {
        match door {
            Door::Mount(index) => {
                let (at, to) = (self.doors.at(index, one), self.doors.at(index, two));
                let done = match what {
                    "write" => fs::write(&at, bytes(seed, size as usize)),
                    "append" => OpenOptions::new()
                        .append(true)
                        .open(&at)
                        .and_then(|mut f| f.write_all(seed.to_string().as_bytes())),
                    "delete" => fs::remove_file(&at),
                    "key" => xattr::set(&at, "user.k", seed.to_string().as_bytes()),
                    "mkdir" => fs::create_dir(&at),
                    "rmdir" => fs::remove_dir(&at),
                    _ => fs::rename(&at, &to),
                };
                done.unwrap_or_else(|e| panic!("{what} {} {}: {e}", at.display(), to.display()));
            }
            Door::Program(index) => {
                let order = match what {
                    "write" => format!("fill {one} {seed} {size}"),
                    "append" => format!("append {one} {seed}"),
                    "key" => format!("key {one} {seed}"),
                    "rename" | "move" => format!("rename {one} {two}"),
                    _ => format!("{what} {one}"),
                };
                assert_eq!(self.doors.program(index).does(&order), "ok", "{order}");
            }
            Door::Command => {
                let number = seed.to_string();
                let input = self.doors.data_dir().with_extension("input");
                let words: &[&str] = match what {
                    "write" | "append" => {
                        let body =
                            if what == "write" { bytes(seed, size as usize) } else { number.clone().into_bytes() };
                        fs::write(&input, body).unwrap();
                        let input = input.to_str().unwrap();
                        if what == "write" { &["write", one, input] } else { &["write", "--append", one, input] }
                    }
                    "delete" => &["rm", one],
                    "key" => &["meta", "set", one, "k", &number],
                    "rename" | "move" => &["mv", one, two],
                    _ => &[what, one],
                };
                self.doors.command(words).ok();
            }
        }
    }

    fn note(&mut self, what: &str, (one, two): (&str, &str), seed: u64, size: u64) {
        let truth = &mut self.truth;
        let file = truth.file(one);
        match what {
            "write" => truth.write(one, bytes(seed, size as usize)),
            "append" => truth.files[file.unwrap()].0.extend(seed.to_string().as_bytes()),
            "key" => truth.files[file.unwrap()].1 = Some(seed.to_string()),
            "delete" | "rmdir" => drop(truth.names.remove(one)),
            "mkdir" => drop(truth.names.insert(one.to_owned(), None)),
            "rename" => {
                let file = truth.names.remove(one).unwrap();
                truth.names.insert(two.to_owned(), file);
            }
            _ => {
                let moved: Vec<_> = truth.names.keys().filter(|name| name.starts_with(one)).cloned().collect();
                for name in moved {
                    let node = truth.names.remove(&name).unwrap();
                    truth.names.insert(name.replacen(one, two, 1), node);
                }
            }
        }
    }

    /// What only a mount offers: to a file that is there.
    fn through_a_mount(&mut self, one: &str, two: &str, seed: u64, size: u64) {
        let mount = self.random.below(4) as usize;
        let (at, to) = (self.doors.at(mount, one), self.doors.at(mount, two));
        let file = self.truth.file(one).unwrap();
        match seed % 6 {
            0 => {
                OpenOptions::new().write(true).open(&at).unwrap().set_len(size).unwrap();
                self.truth.files[file].0.resize(size as usize, 0);
            }
            1 => {
                OpenOptions::new().write(true).open(&at).unwrap().write_all_at(b"in the middle", size).unwrap();
                let (body, end) = (&mut self.truth.files[file].0, size as usize + 13);
                body.resize(body.len().max(end), 0);
                body[size as usize..end].copy_from_slice(b"in the middle");
            }
            2 if !self.truth.names.contains_key(two)
                && !DIRECTORIES.contains(&two)
                && self.truth.is_directory(two.rsplit_once('/').unwrap().0) =>
            {
                fs::hard_link(&at, &to).unwrap();
                self.truth.names.insert(two.to_owned(), Some(file));
            }
            3 => fs::set_permissions(&at, Permissions::from_mode(0o600 + (size as u32 & 0o77))).unwrap(),
            _ => {
                if self.open[mount].len() == OPEN_MAX {
                    self.open[mount].swap_remove(0);
                }
                self.open[mount].push((file, File::open(&at).unwrap()));
            }
        }
    }

    /// Looks at a path through two doors, which have to show the truth and the same, and at what is open on a mount.
    fn compare(&mut self, path: &str) -> Result<(), String> {
        let (one, two) = (self.door(), self.door());
        let looks = [one, two].map(|door| (door, self.doors.look(door, path)));
        for (door, seen) in &looks {
            let seen = seen.as_ref().map_err(|e| format!("{door:?}: {e}"))?;
            self.truth.check(path, seen).map_err(|e| format!("{door:?} {e}"))?;
        }
        if looks[0].1 != looks[1].1 {
            return Err(format!("{looks:?}"));
        }
        let Door::Mount(mount) = one else { return Ok(()) };
        for (file, handle) in &self.open[mount] {
            let body = &self.truth.files[*file].0;
            let mut seen = vec![0; body.len() + 1];
            let length = handle.read_at(&mut seen, 0).map_err(|e| format!("what is open on mount {mount}: {e}"))?;
            let size = handle.metadata().map_err(|e| e.to_string())?.len();
            if seen[..length] != body[..] || size != body.len() as u64 {
                let differ = seen.iter().zip(body).position(|(a, b)| a != b);
                let long = body.len();
                return Err(format!(
                    "open on mount {mount}: {length} bytes, size {size}, of {long}; differs at {differ:?}"
                ));
            }
        }
        Ok(())
    }
}
