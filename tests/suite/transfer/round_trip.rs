//! Export, import into an empty store, export: the same bytes, whatever names and values there are.

use std::collections::BTreeSet;

use nexus::model::Timestamp;
use nexus::transfer::Conflict;

use super::place::{Place, counts};
use crate::harness::{Random, seed};

const FILES: u64 = 10_000;

#[test]
fn ten_thousand_odd_files_come_back_byte_for_byte() {
    let seed = seed();
    println!("NEXUS_TEST_SEED={seed}");
    let (from, to) = (Place::new(), Place::new());
    let mut random = Random(seed);
    let mut directories = vec![Vec::new()];
    let mut made = 0_u64;
    let mut names = BTreeSet::new();
    while made < FILES {
        let above = directories[random.below(directories.len() as u64) as usize].clone();
        let path = [above, b"/".to_vec(), name(&mut random)].concat();
        if path.len() > 2_000 || names.contains(&path) {
            continue;
        }
        names.insert(path.clone());
        if random.below(20) == 0 {
            // A directory only if nothing has that name, and it exists when a file is put into it.
            directories.push(path);
            continue;
        }
        let size = [0, 1, 10, 100][random.below(4) as usize];
        from.put(&path, &crate::harness::bytes(random.below(500), size));
        if random.below(2) == 0 {
            from.set_modified(&path, Timestamp((random.next() >> 1).cast_signed() - (1 << 62)));
        }
        for _ in 0..random.below(4) {
            let key = [b"user.".to_vec(), name(&mut random)].concat();
            let key = &key[..key.len().min(255)];
            if !key.starts_with(b"user.nexus.") {
                from.set(&path, key, &value(&mut random));
            }
        }
        made += 1;
    }
    let bodies = from.path("bodies");
    let (lines, report) = from.lines_and_bodies(&bodies);
    assert_eq!(report.files, FILES);
    assert!(report.notes.is_empty(), "{report:#?}");
    in_order(&lines);
    let report = to.import_bodies(&lines, &bodies).unwrap();
    assert_eq!(counts(&report), [FILES, 0, 0, 0], "{:#?}", &report.notes[..report.notes.len().min(10)]);
    let again = to.path("bodies");
    assert!(to.lines_and_bodies(&again).0 == lines, "seed {seed}: the second export differs");
    assert_eq!(listing(&again), listing(&bodies));
    // Without bodies too, and a second import changes nothing that an export shows.
    assert!(from.lines() == to.lines());
    assert_eq!(counts(&to.import(&lines, Conflict::Overwrite).unwrap()), [0, FILES, 0, 0]);
    assert!(to.lines_and_bodies(&again).0 == lines);
    from.end();
    to.end();
}

fn listing(directory: &std::path::Path) -> BTreeSet<std::ffi::OsString> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// Alphabets that meet each other: what JSON escapes, what sorts around the slash, what is not UTF-8.
fn name(random: &mut Random) -> Vec<u8> {
    let length = if random.below(50) == 0 { 255 } else { 1 + random.below(6) };
    let alphabet: &[&[u8]] = match random.below(4) {
        0 => &[b"a", b".", b"-", b"0", b"!"],
        1 => &[b"\n", b"\"", b"\\", b"\t", b"\x01", b"\x7f", b" ", b"'"],
        2 => &[b"\xff", b"\xc3", b"\xa9", b"a", b"\xed\xa0\x80", b"\xf0\x9f"],
        _ => &["é".as_bytes(), "\u{1f600}".as_bytes(), "\u{2028}".as_bytes(), "\u{fffd}".as_bytes(), b"z"],
    };
    let mut name = Vec::new();
    while (name.len() as u64) < length {
        name.extend_from_slice(alphabet[random.below(alphabet.len() as u64) as usize]);
    }
    name.truncate(255);
    if matches!(&name[..], b"." | b"..") { b"dot".to_vec() } else { name }
}

fn value(random: &mut Random) -> Vec<u8> {
    match random.below(200) {
        0 => vec![0; 65_536],
        1 => crate::harness::bytes(random.next(), 65_536),
        2..40 => Vec::new(),
        40..80 => b"{\"a\": [1, \"\xc3\xa9\"]}\n\0".to_vec(),
        80..120 => crate::harness::bytes(random.next(), 20),
        _ => name(random),
    }
}

/// Paths in the order of bytes, none twice.
fn in_order(lines: &[u8]) {
    let mut last = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        // The path in base64 is compared where the other is not it.
        let path = match line.get("path_b64") {
            Some(encoded) => decode(encoded.as_str().unwrap()),
            None => line["path"].as_str().unwrap().as_bytes().to_vec(),
        };
        assert!(last < path, "{:?} after {:?}", path.escape_ascii().to_string(), last.escape_ascii().to_string());
        last = path;
    }
}

fn decode(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').map(digit).collect();
    let mut bytes = Vec::new();
    for four in digits.chunks(4) {
        let bits = four.iter().fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit)) << (6 * (4 - four.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}

#[test]
fn bodies_of_every_size_go_along() {
    let (from, to) = (Place::with_files(), Place::new());
    let bodies = from.path("bodies");
    let (lines, report) = from.lines_and_bodies(&bodies);
    assert_eq!((report.files, report.bodies), (6, 4));
    // What is there is not copied again.
    assert_eq!(from.lines_and_bodies(&bodies).1.bodies, 0);
    assert_eq!(counts(&to.import_bodies(&lines, &bodies).unwrap()), [6, 0, 0, 0]);
    for path in ["/files/0.txt", "/files/1.txt", "/files/2.txt", "/files/3.txt", "/jobs/twin.json"] {
        assert!(to.get(path.as_bytes()) == from.get(path.as_bytes()), "{path}");
    }
    let id = to.id(b"/jobs/twin.json").unwrap();
    assert_eq!(to.vfs.getxattr(id, b"user.nexus.refs").unwrap(), b"2");
    assert_eq!(to.vfs.getattr(id).unwrap().mode, 0o640, "permission bits go along with the bodies");
    // A file that came can be written like another.
    to.put(b"/files/3.txt", b"short now");
    assert_eq!(to.get(b"/files/3.txt"), b"short now");
    from.end();
    to.end();
}

#[test]
fn a_body_that_is_not_what_it_says_is_not_taken() {
    let (from, to) = (Place::with_files(), Place::new());
    let bodies = from.path("bodies");
    let (lines, _) = from.lines_and_bodies(&bodies);
    for file in std::fs::read_dir(&bodies).unwrap() {
        let path = file.unwrap().path();
        let mut body = std::fs::read(&path).unwrap();
        body[0] ^= 1;
        std::fs::write(&path, body).unwrap();
    }
    let report = to.import_bodies(&lines, &bodies).unwrap();
    assert_eq!(counts(&report), [1, 0, 5, 0]);
    assert!(report.notes[0].what.contains("something else"), "{report:#?}");
    std::fs::remove_dir_all(&bodies).unwrap();
    std::fs::create_dir(&bodies).unwrap();
    assert_eq!(counts(&to.import_bodies(&lines, &bodies).unwrap()), [0, 1, 5, 0]);
    std::fs::remove_dir(&bodies).unwrap();
    assert!(to.import_bodies(&lines, &bodies).unwrap_err().context().contains("bodies"));
    from.end();
    to.end();
}

#[test]
fn a_damaged_body_is_told_and_its_line_exported() {
    let place = Place::with_files();
    place.vfs.settle().unwrap();
    let digest = crate::harness::sha256(&place.get(b"/files/3.txt"));
    let blob = place.data_dir().join("cas").join(&digest[..2]).join(&digest[2..4]).join(&digest);
    let whole = std::fs::read(&blob).unwrap();
    std::fs::remove_file(&blob).unwrap();
    let (lines, report) = place.lines_and_bodies(&place.path("bodies"));
    assert_eq!((report.files, report.damaged), (6, 1), "{report:#?}");
    assert_eq!(report.notes[0].path, "/files/3.txt");
    // The same bytes from outside heal it.
    let good = place.path("good");
    std::fs::create_dir(&good).unwrap();
    std::fs::write(good.join(&digest), &whole).unwrap();
    assert_eq!(counts(&place.import_bodies(&lines, &good).unwrap()), [0, 6, 0, 0]);
    assert!(place.get(b"/files/3.txt") == whole);
    place.end();
}
