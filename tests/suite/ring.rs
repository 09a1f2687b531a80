//! What only requests over io_uring can get wrong: no ring to be had, transfers of every size, slow requests, and every way to end.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nexus::fuse::{Mount, MountOptions, TransportInUse};
use nexus::model::{Caller, NodeId, Principal, Timestamp, Transport, VPath};
use nexus::vfs::{StoreOptions, Vfs};
use nexus::view::View;

use crate::harness::{
    Mounted, Switch, bytes, is_mounted, is_running, nexus, run, scratch, shell, tool, unmount_below, wait_until,
};

mod ends;

/// A body that is a draft on the disk while it is written.
const STAGED: usize = 300_000;
/// The limit of an attribute, xattr(7).
const XATTR_BYTES_MAX: usize = 65_536;

fn over_ring(arguments: &[&str]) -> Mounted {
    Mounted::over("io_uring", arguments)
}

#[test]
fn without_an_offer_the_old_way_is_taken_or_the_reason_is_told() {
    let base = scratch();
    let data_dir = base.path().join("data");
    let mut mounted = Mounted::initialised(base, data_dir, &[]);
    {
        let _off = Switch::off();
        let mend = "echo 1 > /sys/module/fuse/parameters/enable_uring";
        let mut asked = mounted.mount_command();
        run(asked.args(["--transport", "io_uring"])).refused(&["io_uring", "is set not to", mend]);
        assert!(!is_mounted(&mounted.root()));
        // Nothing is said to whoever did not ask, except in the log.
        let mut auto = mounted.mount_command();
        let outcome = run(auto.args(["--transport", "auto"]).env("NEXUS_LOG", "info")).ok();
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
        assert!(mounted.log().contains("requests over /dev/fuse, not io_uring"), "{}", mounted.log());
        assert!(mounted.log().contains(mend), "{}", mounted.log());
        let status = run(nexus().arg("status").arg("--data-dir").arg(mounted.data_dir())).ok().stdout;
        assert!(status.contains("over /dev/fuse, not io_uring: ") && status.contains(mend), "{status}");
    }
    fs::write(mounted.path("file"), b"body").unwrap();
    mounted.umount();
    // Once it is offered it is taken, and what the other way wrote is there.
    let on = Switch::on();
    run(mounted.mount_command().env("NEXUS_LOG", "info")).ok();
    drop(on);
    assert!(mounted.log().contains("requests over io_uring"), "{}", mounted.log());
    assert_eq!(fs::read(mounted.path("file")).unwrap(), b"body");
    mounted.remount();
    mounted.finish();
}

#[test]
fn a_word_that_is_no_transport_is_refused() {
    let mounted = over_ring(&[]);
    for arguments in [["--transport", "uring"], ["-o", "transport=uring"]] {
        run(nexus().arg("mount").arg(mounted.root()).args(arguments)).refused(&["auto", "io_uring", "dev_fuse"]);
    }
    run(nexus().arg("mount").arg(mounted.root()).env("NEXUS_TRANSPORT", "uring"))
        .refused(&["NEXUS_TRANSPORT", "auto, io_uring, dev_fuse"]);
    mounted.finish();
}

/// Round the sizes at which the kernel splits transfers: a page, the largest request, and more.
#[test]
fn transfers_of_every_size_arrive() {
    let mut mounted = over_ring(&["-o", "no_passthrough"]);
    let sizes = [0, 1, 4095, 4096, 4097, 131_072, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_001];
    let path = |mounted: &Mounted, size: usize| mounted.path(&format!("of-{size}"));
    for size in sizes {
        let file = File::create(path(&mounted, size)).unwrap();
        let body = bytes(size as u64, size);
        let written = file.write_at(&body, 0).unwrap();
        file.write_all_at(&body[written..], written as u64).unwrap();
        // In pieces over each other, and behind the end.
        file.write_all_at(&body[size / 2..], size as u64 / 2).unwrap();
    }
    mounted.remount();
    for size in sizes {
        assert!(fs::read(path(&mounted, size)).unwrap() == bytes(size as u64, size), "{size}");
    }
    let direct = "for f in of-*; do dd if=$f bs=1M iflag=direct status=none | cmp - $f; done";
    shell(&mounted.root(), direct);
    mounted.finish();
}

#[test]
fn attributes_of_every_size_arrive() {
    let mut mounted = over_ring(&[]);
    let file = mounted.path("file");
    fs::write(&file, b"").unwrap();
    let sizes = [0, 1, 4096, 65_535, XATTR_BYTES_MAX];
    for size in sizes {
        xattr::set(&file, format!("user.of-{size}"), &bytes(size as u64, size)).unwrap();
    }
    let too_large = xattr::set(&file, "user.more", &vec![0; XATTR_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(too_large.raw_os_error(), Some(libc::E2BIG));
    for _ in 0..2 {
        for size in sizes {
            let value = xattr::get(&file, format!("user.of-{size}")).unwrap();
            assert!(value == Some(bytes(size as u64, size)), "{size}");
        }
        assert_eq!(xattr::list(&file).unwrap().count(), sizes.len());
        mounted.remount();
    }
    let mut short = [0; 4095];
    let refused = rustix::fs::getxattr(&file, "user.of-4096", &mut short[..]).unwrap_err();
    assert_eq!(refused, rustix::io::Errno::RANGE);
    mounted.finish();
}

#[test]
fn a_large_directory_is_listed_whole() {
    const FILES: usize = 12_000;
    for caching in ["cache_seconds=3600", "cache_seconds=0"] {
        let mut mounted = over_ring(&["-o", caching]);
        let name = |number: usize| format!("{number}-{}", "x".repeat(number % 200));
        for number in 0..FILES {
            fs::write(mounted.path(&name(number)), number.to_string()).unwrap();
        }
        mounted.remount();
        let mut found = vec![0; FILES];
        for entry in fs::read_dir(mounted.root()).unwrap() {
            let entry = entry.unwrap();
            let text = entry.file_name().into_string().unwrap();
            let number: usize = text.split_once('-').unwrap().0.parse().unwrap();
            assert_eq!(text, name(number));
            let metadata = entry.metadata().unwrap();
            assert!(metadata.is_file() && metadata.len() == number.to_string().len() as u64, "{text}");
            found[number] += 1;
        }
        assert!(found.iter().all(|times| *times == 1), "{caching}");
        let listed = shell(&mounted.root(), "ls -lai | sed -n '2,3s/.* //p'");
        assert_eq!(listed, ".\n..\n");
        mounted.finish();
    }
}

/// FORGET does not come over the ring: what is remembered of removed files must go all the same.
#[test]
fn the_kernel_forgets_over_the_ring_too() {
    let base = scratch();
    let (data_dir, mountpoint) = (base.path().join("store"), base.path().join("mnt"));
    fs::create_dir(&mountpoint).unwrap();
    Vfs::init(&data_dir, Caller { uid: 0, gid: 0 }, Timestamp::now).unwrap();
    let store = StoreOptions { data_dir: data_dir.clone(), read_only: false, clock: Timestamp::now };
    let vfs = Vfs::open_store(store).unwrap();
    let transport = Transport::IoUring;
    let options =
        MountOptions { mountpoint: mountpoint.clone(), store_dir: data_dir, transport, ..MountOptions::default() };
    let on = Switch::on();
    let mount = Mount::new(View::new(Arc::clone(&vfs), Principal::default()), &options).unwrap();
    drop(on);
    assert_eq!(mount.transport(), &TransportInUse::IoUring);

    shell(&mountpoint, "for i in $(seq 300); do echo $i > $i; done");
    let id = |number: u32| vfs.resolve(&VPath::parse(format!("/{number}").as_bytes()).unwrap()).unwrap().id;
    let ids: Vec<NodeId> = (1..=300).map(id).collect();
    // One by one, and many at once.
    shell(&mountpoint, "rm 1; seq 2 300 | xargs rm");
    wait_until("the kernel has forgotten what was removed", 60, || ids.iter().all(|id| vfs.getattr(*id).is_err()));

    mount.unmount(false).or_else(|_| mount.unmount(true)).unwrap();
    mount.wait().unwrap();
    vfs.settle().unwrap();
    assert!(vfs.check().unwrap().problems.is_empty());
    vfs.close().unwrap();
    unmount_below(base.path());
}

/// A process that waits in a slow request is interrupted, or killed; the request is finished, and nobody else notices.
#[test]
fn a_signal_to_one_who_waits_harms_nobody() {
    let mounted = over_ring(&["-o", "no_passthrough"]);
    for round in 0..20 {
        let signal = ["INT", "KILL", "ALRM"][round % 3];
        let script = format!(
            "for i in 1 2 3; do dd if=/dev/zero of=f$i bs=1M count=16 conv=fsync status=none & done
            sleep 0.0{round}
            kill -{signal} $(jobs -p)
            wait"
        );
        // Killed or not, what is there can be read and replaced.
        run(Command::new("bash").arg("-c").arg(script).current_dir(mounted.root()));
        for number in 1..=3 {
            if let Ok(body) = fs::read(mounted.path(&format!("f{number}"))) {
                assert!(body.len() <= 16 << 20 && body.iter().all(|byte| *byte == 0));
            }
        }
    }
    mounted.finish();
}

/// While three slow requests of a core wait for a disk that does not answer, others of that core are served. Only bodies lie on that disk,
/// because whoever changes a name waits for the database.
#[test]
fn slow_requests_leave_their_core_to_others() {
    let base = scratch();
    let image = base.path().join("image");
    File::create(&image).unwrap().set_len(256 << 20).unwrap();
    run(tool("mkfs.ext4").args(["-q", "-F"]).arg(&image)).ok();
    let (data_dir, disk) = (base.path().join("data"), base.path().join("disk"));
    let mut mounted = Mounted::initialised(base, data_dir, &["--transport", "io_uring", "-o", "no_passthrough"]);
    let bodies = "mkdir disk; mount -o loop image disk
        for d in cas staging; do mkdir -p data/$d; mv data/$d disk/; ln -s ../disk/$d data/$d; done";
    shell(mounted.base(), bodies);
    mounted.mount();
    // Open, so that they are drafts on the disk and stay so.
    let slow = [1, 2, 3].map(|number| File::create(mounted.path(&format!("slow{number}"))).unwrap());
    slow.iter().for_each(|file| file.write_all_at(&bytes(1, STAGED), 0).unwrap());

    shell(&mounted.root(), "mkdir quick; echo body > quick/file");
    let thawed = Frozen::new(&disk);
    let (started, running) = std::sync::mpsc::channel();
    let writers = slow.map(|file| {
        let started = started.clone();
        thread::spawn(move || {
            stay_on_core(0);
            started.send(()).unwrap();
            file.write_all_at(&bytes(2, STAGED), STAGED as u64).unwrap();
        })
    });
    for _ in &writers {
        running.recv().unwrap();
    }
    // Long enough for all of them to be stuck; were they not, the test would show less and not fail.
    thread::sleep(Duration::from_millis(500));
    // Not in the kernel's cache: names that were never asked for, and a listing; without the files that are just written, for each of
    // which the store has a lock.
    let mut quick = Command::new("taskset");
    quick.args(["-c", "0", "bash", "-c", "for i in 1 2 3 4 5 6 7 8 9; do test ! -e none$i; done; ls -l > /dev/null"]);
    let mut quick = quick.current_dir(mounted.path("quick")).spawn().unwrap();
    wait_until("others are served", 60, || quick.try_wait().unwrap().is_some_and(|status| status.success()));
    assert!(writers.iter().all(|writer| !writer.is_finished()), "the disk answered although it was frozen");
    drop(thawed);
    for (number, writer) in writers.into_iter().enumerate() {
        writer.join().unwrap();
        let whole = [bytes(1, STAGED), bytes(2, STAGED)].concat();
        assert!(fs::read(mounted.path(&format!("slow{}", number + 1))).unwrap() == whole);
    }
    mounted.umount();
    mounted.fsck().ok();
    shell(mounted.base(), "umount disk");
}

/// A filesystem on which nothing can be written for a while, fsfreeze(8).
struct Frozen(PathBuf);

impl Frozen {
    fn new(disk: &Path) -> Self {
        run(tool("fsfreeze").arg("-f").arg(disk)).ok();
        Self(disk.to_owned())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        run(tool("fsfreeze").arg("-u").arg(&self.0));
    }
}

fn stay_on_core(core: usize) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(None, &cores).unwrap();
}
