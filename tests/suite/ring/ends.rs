//! Every way in which a mount over the ring ends while it is busy: nothing hangs, no thread stays.

use super::*;

/// Processes that make, write, read, list and remove without a pause until they are told to stop, or cannot go on.
struct Load {
    workers: Vec<Child>,
}

/// A worker ends with the first failure, or when the file that keeps it going is gone.
const WORK: &str = "
i=0
while [ -e ../outside/go ]; do
    i=$((i + 1))
    mkdir $W.$i && echo text > $W.$i/file && head -c 400000 /dev/zero > $W.$i/large && cat $W.$i/* > /dev/null &&
    ls -l $W.$i > /dev/null && sync $W.$i/large && mv $W.$i/file $W.$i/moved && rm -r $W.$i || exit 3
done";

impl Load {
    fn on(mounted: &Mounted) -> Self {
        fs::write(mounted.outside().join("go"), b"").unwrap();
        let worker = |number: u32| {
            let mut command = Command::new("bash");
            command.arg("-c").arg(WORK).env("W", format!("w{number}")).current_dir(mounted.root());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let load = Self { workers: (0..6).map(worker).collect() };
        thread::sleep(Duration::from_millis(300));
        load
    }

    /// No worker hangs in a call: each ends when it is told to, well or badly.
    fn ends(mut self, mounted: &Mounted) {
        fs::remove_file(mounted.outside().join("go")).unwrap();
        wait_until("every worker has ended", 60, || {
            self.workers.iter_mut().all(|worker| worker.try_wait().unwrap().is_some())
        });
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.kill().ok();
            worker.wait().ok();
        }
    }
}

#[test]
fn an_unmount_under_load_is_refused_and_a_lazy_one_waits_for_the_last() {
    let mut mounted = over_ring(&[]);
    let load = Load::on(&mounted);
    let pid = mounted.daemon();
    run(nexus().arg("umount").arg(mounted.root())).refused(&["use"]);
    assert!(is_mounted(&mounted.root()) && is_running(pid));
    run(nexus().arg("umount").arg("--lazy").arg(mounted.root())).ok();
    assert!(!is_mounted(&mounted.root()));
    load.ends(&mounted);
    wait_until("the daemon has ended with its last user", 60, || !is_running(pid));
    mounted.assert_quiet_log();
    mounted.fsck().ok();
    mounted.mount();
    mounted.finish();
}

#[test]
fn a_daemon_that_is_told_to_stop_under_load_stops() {
    let mut mounted = over_ring(&[]);
    let load = Load::on(&mounted);
    let pid = mounted.daemon();
    shell(mounted.base(), &format!("kill -TERM {pid}"));
    wait_until("the daemon has stopped", 60, || !is_running(pid));
    assert!(!is_mounted(&mounted.root()));
    load.ends(&mounted);
    mounted.fsck().ok();
    mounted.mount();
    mounted.finish_after_complaints();
}

#[test]
fn a_daemon_that_is_killed_under_load_leaves_nobody_waiting() {
    let mut mounted = over_ring(&[]);
    for _ in 0..5 {
        let load = Load::on(&mounted);
        mounted.kill();
        load.ends(&mounted);
        // For some milliseconds the rings are gone and the connection is not: whoever asks then hears ECANCELED.
        wait_until("the mount is dead", 30, || {
            let dead = fs::metadata(mounted.path("anything")).unwrap_err();
            matches!(dead.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED))
        });
        mounted.fsck().ok();
        mounted.mount();
    }
    mounted.finish_after_complaints();
}

/// fuse.rst of the kernel: "the connection is terminated".
#[test]
fn an_aborted_mount_under_load_ends_its_daemon() {
    let mut mounted = over_ring(&[]);
    let load = Load::on(&mounted);
    let pid = mounted.daemon();
    let device = fs::symlink_metadata(mounted.root()).map(|root| std::os::unix::fs::MetadataExt::dev(&root)).unwrap();
    abort(&mounted, rustix::fs::minor(device)).unwrap();
    load.ends(&mounted);
    wait_until("the daemon has ended", 60, || !is_running(pid));
    mounted.fsck().ok();
    mounted.mount();
    mounted.finish_after_complaints();
}

fn abort(mounted: &Mounted, connection: u32) -> io::Result<()> {
    let control = mounted.base().join("control");
    fs::create_dir(&control)?;
    shell(mounted.base(), "mount -t fusectl none control");
    let done = fs::write(control.join(connection.to_string()).join("abort"), b"1");
    shell(mounted.base(), "umount control");
    done
}
