//! An ordinary user, through fusermount3: the user `tests`, who has neither CAP_SYS_ADMIN nor a place where the binary was built.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Outcome, Switch, TRANSPORTS, is_mounted, mount_entry, run, scratch, shell, unmount_below};

/// What the user owns: a copy of the binary, a store, a mountpoint.
struct Home {
    base: TempDir,
}

impl Home {
    fn new() -> Self {
        let base = scratch();
        fs::copy(env!("CARGO_BIN_EXE_nexus"), base.path().join("nexus")).unwrap();
        fs::create_dir(base.path().join("mnt")).unwrap();
        shell(base.path(), "chown tests . mnt");
        Self { base }
    }

    fn mountpoint(&self) -> PathBuf {
        self.base.path().join("mnt")
    }

    /// A script of the user, in his directory.
    fn user(&self, script: &str) -> Outcome {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "tests", "--regid", "tests", "--clear-groups", "bash", "-c"]);
        command.arg(format!("set -eu; {script}")).current_dir(self.base.path()).env("HOME", self.base.path());
        run(&mut command)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        unmount_below(self.base.path());
    }
}

#[test]
fn an_ordinary_user_mounts_writes_and_unmounts() {
    TRANSPORTS.into_iter().for_each(mount_write_and_unmount);
}

fn mount_write_and_unmount(transport: &str) {
    let home = Home::new();
    let mount = format!("./nexus mount mnt --data-dir store --transport {transport}");
    let on = Switch::on();
    home.user(&format!("./nexus init store && {mount}")).ok();
    drop(on);
    let (kind, source) = mount_entry(&home.mountpoint()).unwrap();
    assert_eq!((kind.as_str(), source), ("fuse.nexus", format!("nexus:{}", home.base.path().join("store").display())));

    // Without CAP_SYS_ADMIN there is no passthrough; large and small files are served all the same.
    let work = "
        cd mnt
        head -c 5000000 /dev/urandom > large; cp large copy; cmp large copy
        test \"$(getfattr --only-values -n user.nexus.etag large)\" = \"$(sha256sum < large | cut -d ' ' -f 1)\"
        echo hello > small; mkdir dir; ln -s ../small dir/link; test \"$(cat dir/link)\" = hello
        test \"$(stat -c %U small)\" = tests
        mv small dir/moved; setfattr -n user.note -v kept dir/moved; chmod 600 dir/moved
        test \"$(getfattr --only-values -n user.note dir/moved)\" = kept
        if chown root dir/moved 2>/dev/null; then exit 1; fi
        sha256sum large dir/moved > ../sums";
    home.user(work).ok();
    assert_eq!(
        fs::read_dir(home.mountpoint()).unwrap_err().kind(),
        io::ErrorKind::PermissionDenied,
        "what a user has mounted is his alone, root included"
    );
    home.user("./nexus umount mnt").ok();
    assert!(!is_mounted(&home.mountpoint()));
    let on = Switch::on();
    home.user(&format!("{mount} && cd mnt && sha256sum -c ../sums")).ok();
    drop(on);
    home.user("./nexus umount mnt && ./nexus fsck store").ok();
    let log = fs::read_to_string(home.base.path().join("store/nexus.log")).unwrap_or_default();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn a_user_adds_a_mount_to_his_own() {
    let home = Home::new();
    home.user("mkdir second; ./nexus init store && ./nexus mount mnt --data-dir store -o locks=store").ok();
    let joined = home.user("./nexus mount second --data-dir store && echo seen > mnt/f && cat second/f");
    assert_eq!(joined.ok().stdout, "seen\n");
    let listed = home.user("./nexus mounts --data-dir store").ok().stdout;
    let processes: Vec<_> = listed.lines().filter_map(|line| line.split_once("process ")).map(|(_, pid)| pid).collect();
    assert!(processes.len() == 2 && processes[0] == processes[1], "{listed}");
    home.user("./nexus verify --data-dir store && ./nexus export - --data-dir store | wc -l").ok();
    home.user("./nexus umount --all --data-dir store && ./nexus fsck store").ok();
}

#[test]
fn allow_other_needs_the_word_of_the_administrator() {
    if allows_allow_other(Path::new("/etc/fuse.conf")) {
        // Then it has to work.
        let home = Home::new();
        home.user("./nexus init store && ./nexus mount mnt --data-dir store --allow-other").ok();
        fs::read_dir(home.mountpoint()).unwrap();
        home.user("./nexus umount mnt && ./nexus fsck store").ok();
        return;
    }
    let home = Home::new();
    home.user("./nexus init store").ok();
    home.user("./nexus mount mnt --data-dir store --allow-other").refused(&["user_allow_other", "/etc/fuse.conf"]);
    assert!(!is_mounted(&home.mountpoint()));
}

fn allows_allow_other(configuration: &Path) -> bool {
    fs::read_to_string(configuration).is_ok_and(|text| text.lines().any(|line| line.trim() == "user_allow_other"))
}

#[test]
fn a_mountpoint_of_somebody_else_is_refused() {
    let home = Home::new();
    let other = home.base.path().join("other");
    shell(home.base.path(), "mkdir other; chmod 755 other; chown root other");
    home.user("./nexus init store").ok();
    home.user("./nexus mount other --data-dir store").refused(&["other"]);
    assert!(!is_mounted(&other));
}
