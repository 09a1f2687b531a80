//! The commands: the same answer with and without a live mount, exit codes that scripts can rely on, data alone on
//! standard output.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use super::Place;
use crate::harness::{Mounted, nexus, run};

/// Commands, what is on their standard input, and how they exit.
const SCRIPT: &[(&[&str], &str, i32)] = &[
    (&["ls"], "", 0),
    (&["write", "/docs/a.txt"], "first\n", 0),
    (&["write", "/docs/b.txt", "-"], "first\n", 0),
    (&["write", "--append", "/docs/b.txt"], "second\n", 0),
    (&["write", "--new", "/docs/a.txt"], "x", 5),
    (&["write", "/docs"], "x", 1),
    (&["write", "/docs/a.txt/below"], "x", 1),
    (&["cat", "/docs/a.txt", "/docs/b.txt"], "", 0),
    (&["cat", "/docs/a.txt", "/none", "/docs"], "", 3),
    (&["cat", "relative"], "", 2),
    (&["cat", "/docs/../docs/a.txt"], "", 2),
    (&["cp", "/docs/a.txt", "/docs/c.txt"], "", 0),
    (&["cp", "/docs/a.txt", "/docs/b.txt", "/new"], "", 1),
    (&["mkdir", "/new"], "", 0),
    (&["mkdir", "/new"], "", 5),
    (&["mkdir", "-p", "/new", "/deep/down/there"], "", 0),
    (&["mkdir", "/no/parent"], "", 3),
    (&["cp", "/docs/a.txt", "/docs/b.txt", "/new"], "", 0),
    (&["cp", "/docs", "/copy"], "", 1),
    (&["cp", "-r", "/docs", "/copy"], "", 0),
    (&["mv", "/copy/c.txt", "/deep/down"], "", 0),
    (&["mv", "-n", "/copy/a.txt", "/docs/a.txt"], "", 5),
    (&["mv", "/none", "/other"], "", 3),
    (&["ls"], "", 0),
    (&["ls", "-R", "/docs", "/new", "/none"], "", 3),
    (&["ls", "--json", "-R"], "", 0),
    (&["ls", "-l", "/docs/a.txt"], "", 0),
    (&["tree"], "", 0),
    (&["tree", "--json", "/docs"], "", 0),
    (&["info", "/docs/a.txt", "/docs"], "", 0),
    (&["info", "--json", "/docs/a.txt", "/none"], "", 3),
    (&["find-duplicates"], "", 0),
    (&["find-duplicates", "--json", "/docs"], "", 0),
    (&["du", "/", "/docs"], "", 0),
    (&["du", "--json"], "", 0),
    (&["rmdir", "/docs"], "", 5),
    (&["rmdir", "/docs/a.txt"], "", 1),
    (&["rm", "/docs"], "", 1),
    (&["rm", "/none", "/docs/a.txt"], "", 3),
    (&["rm", "-f", "/none"], "", 0),
    (&["rm", "-r", "/docs", "/copy"], "", 0),
    (&["rmdir", "/deep/down/there"], "", 0),
    (&["tree"], "", 0),
    (&["ls", "--wrong"], "", 2),
];

/// Runs the script, and returns everything it said, without what is never the same twice: times and numbers of nodes.
fn play(data_dir: &Path, outside: &Path) -> String {
    let input = outside.join("input");
    let mut said = String::new();
    for (words, typed, code) in SCRIPT {
        std::fs::write(&input, typed).unwrap();
        let mut command = nexus();
        command.args(*words).env("NEXUS_DATA_DIR", data_dir).stdin(File::open(&input).unwrap());
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(*code), "{words:?}\n{out}{err}");
        assert_eq!(err.is_empty(), *code == 0, "{words:?}: {err}");
        if words.contains(&"--json") && *code == 0 {
            serde_json::from_str::<serde_json::Value>(&out).unwrap();
        }
        let plain = |text: &str| {
            let lines = text.lines().map(|line| match line.find("path_id") {
                Some(at) => mask_times(&line[..at]),
                None => mask_times(line),
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        said += &format!("$ nexus {}\n{}{}\n", words.join(" "), plain(&out), plain(&err));
    }
    said
}

/// Without times: `2026-11-21T09:07:22.261844333Z`.
fn mask_times(line: &str) -> String {
    let is_time = |word: &str| word.len() >= 20 && word.as_bytes()[10] == b'T' && word.contains('Z');
    line.split_inclusive([' ', '"', ',']).map(|word| if is_time(word) { "TIME " } else { word }).collect()
}

#[test]
fn commands_answer_alike_with_and_without_a_mount() {
    let place = Place::new();
    let without = play(&place.data_dir, place.base.path());
    let mounted = Mounted::new();
    let with = play(&mounted.data_dir(), &mounted.outside());
    assert_eq!(without, with);
    assert!(without.contains("nexus: reading /none: not found"), "{without}");
    mounted.finish();
    place.finish();
}

#[test]
fn the_tree_a_mount_shows_is_the_tree_the_commands_show() {
    let mounted = Mounted::new();
    std::fs::create_dir_all(mounted.path("a/b")).unwrap();
    std::fs::write(mounted.path("a/b/file"), "body").unwrap();
    let shown = |words: &[&str]| run(nexus().args(words).env("NEXUS_DATA_DIR", mounted.data_dir())).ok().stdout;
    assert_eq!(shown(&["ls", "-R"]), "a\na/b\na/b/file\n");
    assert_eq!(shown(&["cat", "/a/b/file"]), "body");
    let status = shown(&["status"]);
    assert!(status.contains(&mounted.daemon().to_string()), "{status}");
    assert!(status.contains(&format!("mounted on {}", mounted.root().display())), "{status}");
    let status: serde_json::Value = serde_json::from_str(&shown(&["status", "--json"])).unwrap();
    assert_eq!(status["owner"]["role"], "daemon");
    assert_eq!(status["owner"]["pid"], mounted.daemon());
    mounted.finish();
}

#[test]
fn without_a_store_the_way_out_is_told() {
    let place = Place::new();
    let none = place.path("none");
    for words in [&["ls"][..], &["write", "/a"], &["status"]] {
        let outcome = run(nexus().args(words).env("NEXUS_DATA_DIR", &none));
        assert_eq!(outcome.code, 3);
        outcome.refused(&["nexus init"]);
        assert!(!none.exists(), "a command makes no store");
    }
    place.finish();
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    let place = Place::new();
    place.connect().write("/big", vec![b'x'; 4 << 20]).unwrap();
    let script = format!(
        "set -o pipefail; {} cat /big --data-dir {} | head -c 10",
        nexus().get_program().display(),
        place.data_dir.display()
    );
    let outcome = run(std::process::Command::new("bash").arg("-c").arg(script)).ok();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("xxxxxxxxxx", ""));
    place.finish();
}
