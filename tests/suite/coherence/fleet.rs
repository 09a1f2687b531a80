//! Several mounts of one store by one daemon, as a user has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nexus::client::{self, MountWish};
use nexus::error::ErrorKind;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    Switch, TRANSPORTS, is_mounted, is_running, nexus, run, scratch, shell, unmount_below, wait_until,
};

const MOUNTS: usize = 4;

/// A store and four mountpoints.
struct Fleet {
    base: TempDir,
}

impl Fleet {
    fn new() -> Self {
        let fleet = Self { base: scratch() };
        run(nexus().arg("init").arg(fleet.data_dir())).ok();
        (0..MOUNTS).for_each(|index| fs::create_dir(fleet.place(index)).unwrap());
        fleet
    }

    fn data_dir(&self) -> PathBuf {
        self.base.path().join("data")
    }

    fn place(&self, index: usize) -> PathBuf {
        self.base.path().join(format!("mnt{index}"))
    }

    fn places(&self) -> Vec<PathBuf> {
        (0..MOUNTS).map(|index| self.place(index)).collect()
    }

    fn mount(&self) -> i32 {
        self.mount_over("auto")
    }

    fn mount_over(&self, transport: &str) -> i32 {
        let _on = Switch::on();
        let mut command = nexus();
        command.arg("mount").args(self.places()).args(["--transport", transport, "--data-dir"]).arg(self.data_dir());
        run(&mut command).ok();
        assert!(self.places().iter().all(|place| is_mounted(place)));
        let record = fs::read_to_string(self.data_dir().join("nexus.pid")).unwrap();
        record.lines().next().unwrap().parse().unwrap()
    }

    fn umount(&self, arguments: &[&str]) {
        run(nexus().arg("umount").args(arguments)).ok();
    }

    fn umount_all(&self) {
        self.umount(&["--all", "--data-dir", self.data_dir().to_str().unwrap()]);
    }

    fn listed(&self) -> Vec<Value> {
        let text = run(nexus().args(["mounts", "--json", "--data-dir"]).arg(self.data_dir())).ok().stdout;
        match serde_json::from_str(&text).unwrap() {
            Value::Array(mounts) => mounts,
            other => panic!("{other}"),
        }
    }

    fn finish(&self) {
        assert!(self.places().iter().all(|place| !is_mounted(place)));
        run(nexus().arg("fsck").arg(self.data_dir())).ok();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        unmount_below(self.base.path());
    }
}

#[test]
fn a_daemon_mounts_and_unmounts_for_whoever_asks_over_its_socket() {
    let fleet = Fleet::new();
    let (data_dir, first, second) = (fleet.data_dir(), fleet.place(0), fleet.place(1));
    let wish = |place: &Path, options: &[&str]| MountWish {
        mountpoint: place.as_os_str().as_encoded_bytes().to_vec(),
        options: options.iter().map(|words| (*words).to_owned()).collect(),
        tenant: Some("acme".into()),
        agent: None,
        is_admin: false,
        rules: None,
    };
    assert!(!client::mount(&data_dir, wish(&second, &[])).unwrap(), "nobody has the store");
    run(nexus().arg("mount").arg(&first).arg("--data-dir").arg(&data_dir)).ok();
    assert!(client::mount(&data_dir, wish(&second, &["cache_seconds=60"])).unwrap());
    fs::write(second.join("workspace/acme/file"), b"text").unwrap();
    let mounts = client::mounts(&data_dir).unwrap();
    assert_eq!(mounts.iter().map(|mount| mount.tenant.as_deref()).collect::<Vec<_>>(), [None, Some("acme")]);
    for (place, options, kind) in [
        (&second, &[][..], ErrorKind::InUse),
        (&fleet.place(2), &["what"], ErrorKind::Invalid),
        (&data_dir, &[], ErrorKind::Invalid),
    ] {
        assert_eq!(client::mount(&data_dir, wish(place, options)).unwrap_err().kind(), kind);
    }
    assert!(client::unmount(&data_dir, second.as_os_str().as_encoded_bytes(), false).unwrap());
    assert!(!is_mounted(&second) && is_mounted(&first));
    assert!(client::stop(&data_dir, false).unwrap());
    wait_until("the daemon has ended", 30, || !is_mounted(&first) && !data_dir.join("nexus.pid").exists());
}

#[test]
fn one_process_serves_several_mounts_and_ends_with_the_last() {
    let fleet = Fleet::new();
    let daemon = fleet.mount();
    shell(&fleet.place(0), "echo hello > f; mkdir d; ln f d/g");
    for place in fleet.places() {
        assert_eq!(shell(&place, "cat d/g; stat -c %h f"), "hello\n2\n");
    }
    let listed = fleet.listed();
    assert_eq!(listed.len(), MOUNTS);
    for (mount, place) in listed.iter().zip(fleet.places()) {
        assert_eq!(mount["mountpoint"].as_str(), place.to_str());
        assert_eq!(mount["data_dir"].as_str(), fleet.data_dir().to_str());
        assert_eq!(mount["pid"].as_i64(), Some(i64::from(daemon)));
        assert_eq!((mount["read_only"].as_bool(), mount["locks"].as_str()), (Some(false), Some("store")));
    }
    let shown = run(nexus().arg("mounts").arg("--data-dir").arg(fleet.data_dir())).ok().stdout;
    assert!(shown.contains(&format!("(rw, process {daemon})")), "{shown}");

    shell(&fleet.place(1), "head -c 1000000 /dev/urandom > big");
    fleet.umount(&[fleet.place(1).to_str().unwrap()]);
    assert!(is_running(daemon) && !is_mounted(&fleet.place(1)));
    assert_eq!(fleet.listed().len(), MOUNTS - 1);
    assert_eq!(shell(&fleet.place(2), "stat -c %s big; echo more >> f; cat f"), "1000000\nhello\nmore\n");
    fleet.umount_all();
    assert!(!is_running(daemon), "the last is gone, and so is the daemon");
    assert!(fleet.listed().is_empty());
    fleet.umount_all();
    fleet.finish();
    let log = fs::read_to_string(fleet.data_dir().join("nexus.log")).unwrap_or_default();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[test]
fn all_are_mounted_or_none() {
    let fleet = Fleet::new();
    fs::remove_dir(fleet.place(3)).unwrap();
    let mount = || run(nexus().arg("mount").args(fleet.places()).arg("--data-dir").arg(fleet.data_dir()));
    mount().refused(&["mnt3", "there is no such directory", "mkdir -p"]);
    std::os::unix::fs::symlink("mnt2", fleet.place(3)).unwrap();
    mount().refused(&["mnt3", "another mountpoint of the same store"]);
    fleet.finish();
}

#[test]
fn a_signal_ends_all_mounts() {
    let fleet = Fleet::new();
    let daemon = fleet.mount();
    shell(&fleet.place(3), "echo kept > f");
    kill_process(Pid::from_raw(daemon).unwrap(), Signal::TERM).unwrap();
    wait_until("the daemon ends", 30, || !is_running(daemon));
    fleet.finish();
    let daemon = fleet.mount();
    assert_eq!(shell(&fleet.place(0), "cat f"), "kept\n");
    fleet.umount_all();
    assert!(!is_running(daemon));
    fleet.finish();
}

#[test]
fn what_is_cached_asks_nobody_however_many_mounts_there_are() {
    let fleet = Fleet::new();
    let daemon = Pid::from_raw(fleet.mount()).unwrap();
    shell(&fleet.place(0), "echo x > f");
    shell(&fleet.place(1), "mkdir apart; for i in $(seq 50); do echo $i > apart/$i; done");
    // Whatever else the program looks for where it is started, it has found or missed after this.
    let look = |place: &Path| {
        let code = "import os\nfor _ in range(1000):\n  os.stat('f'); os.stat('.')";
        Command::new("python3").args(["-I", "-c", code]).current_dir(place).spawn().unwrap()
    };
    for place in fleet.places() {
        assert!(look(&place).wait().unwrap().success());
    }
    // Work in a directory into which no other mount looks takes nothing from their caches.
    shell(&fleet.place(1), "for i in $(seq 50); do mv apart/$i apart/new$i; done; ls -l apart");
    // Nobody answers now: whoever asked would wait.
    kill_process(daemon, Signal::STOP).unwrap();
    let mut looking: Vec<Child> = [0, 2, 3].map(|index| look(&fleet.place(index))).into();
    let deadline = Instant::now() + Duration::from_secs(20);
    let answered = loop {
        let running = looking.iter_mut().filter_map(|child| child.try_wait().unwrap().is_none().then_some(())).count();
        if running == 0 || Instant::now() > deadline {
            break running == 0;
        }
        thread::sleep(Duration::from_millis(20));
    };
    kill_process(daemon, Signal::CONT).unwrap();
    for mut child in looking {
        assert!(child.wait().unwrap().success());
    }
    assert!(answered, "a cached stat was a request");
    fleet.umount_all();
    fleet.finish();
}

#[test]
fn a_kill_under_load_leaves_nothing_hanging() {
    let fleet = Fleet::new();
    for round in 0..6 {
        let daemon = fleet.mount_over(TRANSPORTS[round as usize % TRANSPORTS.len()]);
        let work = "import os, random, sys\nos.chdir(sys.argv[1])\nopen('synced%s' % sys.argv[2], 'w').close()\nfd = os.open('synced%s' % sys.argv[2], os.O_WRONLY)\nos.write(fd, b'kept')\nos.fsync(fd)\nprint('ready', flush=True)\nwhile True:\n  n = 'n%d' % random.randrange(4)\n  try:\n    what = random.randrange(4)\n    if what == 0: open(n, 'w').write('x' * 5000)\n    elif what == 1: os.unlink(n)\n    elif what == 2: os.rename(n, 'n%d' % random.randrange(4))\n    else: open(n).read()\n  except (FileNotFoundError, FileExistsError): pass";
        let mut workers: Vec<Child> = (0..8)
            .map(|number| {
                let mut command = Command::new("python3");
                command.args(["-c", work]).arg(fleet.place(number % MOUNTS)).arg(number.to_string());
                let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
                let mut said = [0; 6];
                std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
                child
            })
            .collect();
        thread::sleep(Duration::from_millis(100 + 50 * round));
        kill_process(Pid::from_raw(daemon).unwrap(), Signal::KILL).unwrap();
        wait_until("the killed daemon is gone", 30, || !is_running(daemon));
        for worker in &mut workers {
            // It gets an error, or is in the middle of nothing: either way it can be ended.
            drop(worker.kill());
            wait_until("who used the mount can go", 30, || worker.try_wait().unwrap().is_some());
        }
        // Its last thread may take a moment longer than its first.
        wait_until("they are dead", 30, || fleet.listed().iter().all(|mount| mount["pid"].is_null()));
    }
    let daemon = fleet.mount();
    for number in 0..8 {
        assert_eq!(fs::read(fleet.place(number % MOUNTS).join(format!("synced{number}"))).unwrap(), b"kept");
    }
    fleet.umount_all();
    assert!(!is_running(daemon));
    fleet.finish();
}

#[test]
fn somebody_who_stays_keeps_his_mount_only() {
    let fleet = Fleet::new();
    let daemon = fleet.mount();
    let mut stays = Command::new("sleep").arg("60").current_dir(fleet.place(2)).spawn().unwrap();
    let refused = run(nexus().args(["umount", "--all", "--data-dir"]).arg(fleet.data_dir()));
    refused.refused(&[&name(&fleet.place(2)), "busy", "sleep"]);
    assert!(is_mounted(&fleet.place(2)) && !is_mounted(&fleet.place(3)));
    stays.kill().unwrap();
    stays.wait().unwrap();
    fleet.umount_all();
    assert!(!is_running(daemon));
    fleet.finish();
}

fn name(path: &Path) -> String {
    path.display().to_string()
}
