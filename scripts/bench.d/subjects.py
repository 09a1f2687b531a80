"""What is measured: the plain disk and nexus (the peers are in peers.py); how each is mounted and unmounted.

Guarantee: a subject starts every group of workloads as a fresh, empty store on the same disk, and nothing of it is left
afterwards, mount, daemon or file, even when the workload failed or the run was interrupted.
"""

import contextlib
import os
import shlex
import subprocess
import time
from pathlib import Path

import ring
from home import remove_tree
from processes import Failed, children, end_children, last_words, run, uninterrupted, version_of

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

    def remedy(self):
        """What to do when there is no version."""
        return "not installed (--install-peers installs it)"

    def make_store(self, home, log):
        """Make an empty store below `home`."""

    def mount(self, home, mountpoint, log):
        """Mount the store; returns when the mount answers, or raises Failed."""
        raise NotImplementedError

    def umount(self, mountpoint, log):
        """Unmount in the subject's own way."""
        run(["umount", mountpoint], log, UMOUNT_SECONDS_MAX)

    def stored(self, home):
        """What of `home` is the store, caches left out."""
        return [home / "data"]

    @contextlib.contextmanager
    def mounted(self, home, notes):
        """A Mounted on a fresh store; `notes` collects what went wrong at the end."""
        place = Mounted(self, home)
        place.directory.mkdir(parents=True)
        try:
            self.make_store(home, place.log)
            place.mount()
            yield place
        finally:
            with uninterrupted():
                self.leave(place.top, place.log, notes)
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


class Mounted:
    """A subject in use: `directory` is where programs work, below the mountpoint `top`; `home` is the plain directory
    that holds everything of it.
    """

    def __init__(self, subject, home):
        self.subject, self.home = subject, home
        self.top, self.log = home / "mnt", home / "log"
        self.directory = self.top

    def mount(self):
        self.subject.mount(self.home, self.top, self.log)
        wait_for_mount(self.top, self.log)

    def umount(self):
        """An orderly stop: whatever the daemon still had to write is written when this returns."""
        self.subject.umount(self.top, self.log)
        deadline = time.monotonic() + UMOUNT_SECONDS_MAX
        while is_mounted(self.top) or children():
            if time.monotonic() > deadline:
                raise Failed(f"{self.subject.name}: the daemon did not end after the unmount")
            time.sleep(0.02)

    def stored_bytes(self):
        """The space the store takes on the disk, after an orderly stop and a new start."""
        self.umount()
        os.sync()
        total = sum(disk_bytes(path) for path in self.subject.stored(self.home))
        self.mount()
        return total


class Plain(Subject):
    """A directory of the disk that holds everybody's stores."""

    name = "plain"
    is_peer = False

    def version(self):
        return "the disk itself"

    @contextlib.contextmanager
    def mounted(self, home, notes):
        place = PlainDirectory(self, home)
        place.directory.mkdir(parents=True)
        try:
            yield place
        finally:
            with uninterrupted():
                end_children(patience_seconds=5)
                remove_tree(home)


class PlainDirectory(Mounted):
    """Nothing is mounted, and nothing has to be stopped."""

    def mount(self):
        """There is nothing to mount."""

    def umount(self):
        """There is nothing to unmount."""

    def stored_bytes(self):
        os.sync()
        return disk_bytes(self.directory)


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

    def remedy(self):
        return f"is {self.binary} a build of nexus?"

    def knows(self, *command, word=""):
        """Whether the help of a command names `word`; false where there is no such command."""
        try:
            done = subprocess.run([self.binary, *command, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        except OSError:
            return False
        return done.returncode == 0 and word in done.stdout

    def make_store(self, home, log):
        run([self.binary, "init", home / "data"], log, MOUNT_SECONDS_MAX)

    def mount(self, home, mountpoint, log):
        run(self.mount_command([mountpoint], home / "data"), log, MOUNT_SECONDS_MAX)

    def mount_command(self, mountpoints, store):
        """What mounts a store in one or several places."""
        command = [self.binary, "mount", *mountpoints, "--data-dir", store, *self.mount_options]
        # Everybody is let in, as by the peers, where somebody checks the mode bits.
        guarded = not any("no_default_permissions" in option for option in self.mount_options)
        return command + (["--allow-other"] if guarded else [])

    def umount(self, mountpoint, log):
        run([self.binary, "umount", mountpoint], log, UMOUNT_SECONDS_MAX)


class NexusTransport(Nexus):
    """nexus over one transport, whatever it would choose by itself."""

    def __init__(self, name, binary, transport):
        super().__init__(name, binary, ["--transport", transport])
        self.transport = transport

    def version(self):
        return super().version() if self.knows("mount", word="--transport") else None

    def remedy(self):
        return "this build of nexus has no choice of transports (nexus mount --transport)"

    @contextlib.contextmanager
    def mounted(self, home, notes):
        with contextlib.ExitStack() as stack:
            if self.transport == "io_uring":
                stack.enter_context(ring.enabled())
            yield stack.enter_context(super().mounted(home, notes))

    def mount(self, home, mountpoint, log):
        super().mount(home, mountpoint, log)
        wait_for_mount(mountpoint, log)
        if ring.in_use() != (self.transport == "io_uring"):
            raise Failed(f"mounted with --transport {self.transport}, but the requests go another way")


class NexusLean(NexusTransport):
    """nexus for root alone, and without access times: what then need not be asked for."""

    OPTIONS = "noatime,no_default_permissions"
    remark = f"mounted with -o {OPTIONS}: for root alone, no access times"

    def __init__(self, name, binary, transport):
        super().__init__(name, binary, transport)
        self.mount_options += ["-o", self.OPTIONS]

    def version(self):
        return super().version() if self.knows("mount", word="no_default_permissions") else None

    def remedy(self):
        return "this build of nexus has no such option (nexus mount -o no_default_permissions)"


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
            raise Failed(f"nothing was mounted on {mountpoint}: {last_words(log)}")
        time.sleep(0.02)
    os.statvfs(mountpoint)


def disk_bytes(path):
    """The space a file or a tree takes on the disk, each file once."""
    done = subprocess.run(["du", "--summarize", "--block-size=1", str(path)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"du {path}: {done.stderr.strip()}")
    return int(done.stdout.split()[0])
