//! Programs that know nothing of nexus: what the README prints, git, SQLite, tar, cp, rsync, cargo.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Mounted, bytes, run_within, shell};

mod tree;

use tree::{Tree, make_tree};

/// The comment above the block of README.md that this runs.
/// What stands above the blocks of commands, which are one session.
const README_MARKS: [&str; 2] = ["<!-- tested: first steps -->", "<!-- tested: jobs -->"];

#[test]
fn the_first_steps_of_the_readme_print_what_it_says() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let steps: Vec<_> = README_MARKS
        .iter()
        .flat_map(|mark| {
            let steps = session(&readme, mark);
            assert!(!steps.is_empty(), "README.md has a fenced block with `$ ` lines below {mark}");
            steps
        })
        .collect();
    // The directory above the mountpoint, as after `scripts/run`: the mount is ./mnt. One shell runs all, so that `cd` works.
    let mounted = Mounted::new();
    let mut script = String::new();
    for (command, _) in &steps {
        script.push_str(&format!("{command}\nprintf '\\n%s\\n' '{STEP_END}'\n"));
    }
    let output = Command::new("bash")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .current_dir(mounted.base())
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let end = format!("\n{STEP_END}\n");
    let mut printed = output.split(&end);
    for (command, expected) in steps {
        assert_eq!(printed.next().unwrap_or_default().trim_end(), expected.trim_end(), "$ {command}");
    }
    mounted.finish();
}

const STEP_END: &str = "=-=-=";

/// The commands of the fenced block below `mark`, and what stands below each.
fn session(text: &str, mark: &str) -> Vec<(String, String)> {
    let after = text.split_once(mark).map_or("", |(_, after)| after);
    let block =
        after.lines().skip_while(|line| !line.starts_with("```")).skip(1).take_while(|line| !line.starts_with("```"));
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command.to_owned(), String::new())),
            (None, Some((_, expected))) => {
                expected.push_str(line);
                expected.push('\n');
            }
            (None, None) => {}
        }
    }
    steps
}

#[test]
fn git_clones_commits_collects_and_checks() {
    let mut mounted = Mounted::new();
    let git = format!(
        "export HOME={} GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b\n",
        mounted.outside().display()
    );
    let origin = mounted.outside().join("origin");
    for number in 0..300_u64 {
        let dir = origin.join(format!("dir-{}", number % 17));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("file-{number}")), bytes(number, (number * 97) as usize)).unwrap();
    }
    shell(&origin, &format!("{git} git init -q -b main . && git add . && git commit -qm one && git tag first"));
    let clone = format!("{git} git clone -q --no-hardlinks {} clone && cd clone\n", origin.display());
    shell(
        &mounted.root(),
        &format!(
            "{clone}
             for turn in 1 2 3 4 5; do
                 for n in 3 30 130; do echo \"turn $turn\" >> dir-$((n % 17))/file-$n; done
                 git mv dir-1/file-$((turn * 17 + 1)) dir-2/moved-$turn
                 git commit -qam \"turn $turn\"
             done
             git checkout -q -b side first && echo side > side && git add side && git commit -qm side
             git checkout -q main && git merge -q -m merged side
             git gc -q --prune=now
             git fsck --full --strict
             test -z \"$(git status --porcelain)\"
             git worktree add -q ../tree side && test -f ../tree/side"
        ),
    );
    let head = shell(&mounted.path("clone"), &format!("{git} git rev-parse HEAD"));
    mounted.remount();
    let check = "git fsck --full --strict; test -z \"$(git status --porcelain)\"; git rev-parse HEAD";
    assert_eq!(shell(&mounted.path("clone"), &format!("{git} {check}")), head);
    shell(
        &mounted.outside(),
        &format!("{git} git clone -q {} back && diff -r back {0} -x .git", mounted.path("clone").display()),
    );
    mounted.finish();
}

#[test]
fn sqlite_keeps_its_database_in_either_journal_mode() {
    let mut mounted = Mounted::new();
    for mode in ["wal", "delete", "truncate", "persist"] {
        let dir = mounted.path(mode);
        fs::create_dir(&dir).unwrap();
        let set_up = format!(
            "test \"$(sqlite3 db 'PRAGMA journal_mode={mode}')\" = {mode}
             sqlite3 db 'CREATE TABLE t (writer INTEGER, n INTEGER, body BLOB)'"
        );
        shell(&dir, &set_up);
        // Two processes write at once: locks, and in WAL mode a mapping they share.
        let writer = "write() { for n in $(seq 40); do
                 sqlite3 -cmd '.timeout 60000' db \"BEGIN IMMEDIATE; INSERT INTO t VALUES ($1, $n, randomblob(20000)); COMMIT\"
             done; }
             write 1 & one=$!
             write 2 & two=$!
             wait $one
             wait $two";
        shell(&dir, writer);
        shell(
            &dir,
            "sqlite3 db 'DELETE FROM t WHERE n % 4 = 0; VACUUM' && sqlite3 db 'SELECT writer, n, hex(body) FROM t ORDER BY 1, 2' | sha256sum > sum",
        );
        assert_eq!(
            shell(&dir, "sqlite3 db 'PRAGMA integrity_check'; sqlite3 db 'SELECT count(*) FROM t'"),
            "ok\n60\n",
            "{mode}"
        );
    }
    mounted.remount();
    for mode in ["wal", "delete", "truncate", "persist"] {
        let check = "sqlite3 db 'PRAGMA integrity_check'; sqlite3 db 'SELECT writer, n, hex(body) FROM t ORDER BY 1, 2' | sha256sum -c sum";
        assert_eq!(shell(&mounted.path(mode), check), "ok\n-: OK\n", "{mode}");
    }
    mounted.finish();
}

#[test]
fn tar_cp_and_rsync_bring_everything_there_and_back() {
    // `there` makes $TO from $FROM, in either direction.
    let table = [
        (
            "tar",
            "mkdir $TO && tar --format=posix --xattrs --xattrs-include='user.*' --sparse -C $FROM -cf - . | tar --xattrs --xattrs-include='user.*' -C $TO -xpf -",
        ),
        ("cp", "cp -a $FROM $TO"),
        ("rsync", "rsync -aXH --devices --specials $FROM/ $TO"),
    ];
    let mut mounted = Mounted::with(&["-o", "dev,suid"]);
    let original = mounted.outside().join("original");
    make_tree(&original);
    let expected = Tree::of(&original);
    let copy = |script: &str, from: &Path, to: &Path| {
        shell(Path::new("/"), &format!("set -o pipefail; FROM={}\nTO={}\n{script}", from.display(), to.display()));
    };
    for (name, script) in table {
        copy(script, &original, &mounted.path(name));
        Tree::of(&mounted.path(name)).assert_equals(&expected, name);
    }
    mounted.remount();
    for (name, script) in table {
        Tree::of(&mounted.path(name)).assert_equals(&expected, &format!("{name}, after a new mount"));
        let back = mounted.outside().join(format!("{name}-back"));
        copy(script, &mounted.path(name), &back);
        Tree::of(&back).assert_equals(&expected, &format!("{name}, there and back"));
        let within = mounted.path(&format!("{name}-within"));
        copy(script, &mounted.path(name), &within);
        Tree::of(&within).assert_equals(&expected, &format!("{name}, within the mount"));
    }
    let unchanged = "rsync -aXHni --checksum --delete";
    let said = shell(mounted.base(), &format!("{unchanged} {}/ {}", original.display(), mounted.path("cp").display()));
    assert_eq!(said, "", "rsync sees a difference");
    shell(&mounted.root(), "rm -rf tar cp rsync tar-within cp-within rsync-within");
    mounted.finish();
}

#[test]
fn cargo_builds_a_project() {
    let mut mounted = Mounted::new();
    let project = mounted.path("project");
    fs::create_dir_all(project.join("src")).unwrap();
    fs::write(
        project.join("Cargo.toml"),
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    )
    .unwrap();
    fs::write(
        project.join("src/lib.rs"),
        "pub fn word() -> &'static str { \"one\" }\n#[test]\nfn it_is() { assert_eq!(word(), \"one\") }\n",
    )
    .unwrap();
    fs::write(project.join("src/main.rs"), "fn main() { println!(\"{}\", small::word()) }\n").unwrap();
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // What the cargo that runs this test has set is not for the project.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CARGO_") && name != "CARGO_HOME" || name == "RUSTFLAGS" {
                cargo.env_remove(name);
            }
        }
        cargo.args(arguments).arg("--offline").current_dir(&project).env("CARGO_TARGET_DIR", project.join("target"));
        run_within(&mut cargo, 300).ok()
    };
    assert_eq!(cargo(&["run", "-q"]).stdout, "one\n");
    cargo(&["test", "-q"]);
    let built = cargo(&["build", "-v"]);
    assert!(!built.stderr.contains("Running"), "nothing has changed, and something was built:\n{}", built.stderr);
    fs::write(project.join("src/lib.rs"), "pub fn word() -> &'static str { \"two\" }\n").unwrap();
    assert_eq!(cargo(&["run", "-q"]).stdout, "two\n");
    mounted.remount();
    assert_eq!(shell(&project, "target/debug/small"), "two\n");
    mounted.finish();
}
