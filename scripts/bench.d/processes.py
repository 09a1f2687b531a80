"""Programs the benchmark starts, and the daemons they leave behind.

Guarantee: everything started here, also a daemon that went to the background, is a child of this process (see
prctl(2), PR_SET_CHILD_SUBREAPER) and is gone when `end_children` returns. Processes of others are never touched.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
WISHES_TO_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Failed(Exception):
    """A program did not do what it was started for; the message says which and why."""


@contextlib.contextmanager
def uninterrupted():
    """Lets a clean-up finish: a second Ctrl-C would leave mounts behind.

    The wish is kept and granted afterwards. Programs that are started inside inherit the mask, so a Ctrl-C at the terminal
    does not end them either.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WISHES_TO_STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop_on_signals():
    """Make every wish to stop a KeyboardInterrupt, also where the shell started us with SIGINT ignored."""
    for wish in WISHES_TO_STOP:
        signal.signal(wish, signal.default_int_handler)


def adopt_daemons():
    """Make orphans of this process its children, so that no daemon can slip away."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise Failed(f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(ctypes.get_errno())}")


def run(command, log, timeout_seconds, cwd=None, env=None, stdout=None):
    """Run `command` to its end and return the seconds it took; what it says goes to the file `log`.

    The log is a file and not a pipe, because a daemon that keeps its standard error open would keep a pipe open for ever.
    """
    command = [str(word) for word in command]
    with open(log, "ab") as said:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout or said, stderr=said, cwd=cwd, env=env
            )
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}") from error
        try:
            finished = wait(process.pid, timeout_seconds)
            seconds = time.perf_counter() - start
        except BaseException:
            process.kill()
            raise
    if not finished:
        # Not waited for: a process inside a hung mount ends only after the daemon, in `end_children`.
        process.kill()
        raise Failed(f"{Path(command[0]).name}: not finished after {timeout_seconds:.0f} s")
    code = process.wait()
    if code != 0:
        how = f"exit code {code}" if code > 0 else signal.Signals(-code).name
        raise Failed(f"{Path(command[0]).name}: {how}: {last_words(log)}")
    return seconds


def wait(pid, timeout_seconds):
    """Whether a child ends in time.

    Not Popen.wait: with a timeout it looks every 50 ms, and that would be in the figures.
    """
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(timeout_seconds * 1000))
    finally:
        os.close(descriptor)


def last_words(log):
    """The last line of a log that says something."""
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in Path(log).read_text(errors="replace").splitlines()]
        spoken = [line for line in lines if line]
        if spoken:
            return spoken[-1][-300:]
    return "it said nothing"


def version_of(command, wanted=lambda line: True):
    """The first line of what `command` prints that is `wanted`, or None when the program is not there."""
    try:
        done = subprocess.run(
            [str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if wanted(line)), None)


def children():
    """The process ids of our children, daemons included; the dead are buried on the way."""
    own, found = os.getpid(), []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything; the fields after it are proc_pid_stat(5) from the third on.
            state, parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) != own:
                continue
            if state == "Z":
                os.waitpid(int(entry), os.WNOHANG)
            else:
                found.append(int(entry))
    return found


def peak_memory_bytes():
    """The largest resident sets of our daemons and their children, added up (VmHWM of proc_pid_status(5))."""
    total = 0
    for pid in descendants():
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) * 1024
    return total


def descendants():
    """Our children, and theirs."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
    found, own = [], os.getpid()
    for pid in parents:
        above = parents.get(pid)
        while above not in (None, 0, own):
            above = parents.get(above)
        if above == own:
            found.append(pid)
    return found


def end_children(patience_seconds):
    """Wait for our children to end by themselves, then end them; returns the number that had to be ended."""
    deadline = time.monotonic() + patience_seconds
    while children() and time.monotonic() < deadline:
        time.sleep(0.02)
    stubborn = children()
    for final in (signal.SIGTERM, signal.SIGKILL):
        for pid in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, final)
        deadline = time.monotonic() + 5
        while children() and time.monotonic() < deadline:
            time.sleep(0.02)
    return len(stubborn)
