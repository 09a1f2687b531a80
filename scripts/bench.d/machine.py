"""Where a benchmark ran: without this, its figures say little."""

import datetime
import os
import platform
import sqlite3
from pathlib import Path

from processes import version_of


def describe(workdir):
    """The machine, its kernel and its tools, as they go into the JSON file."""
    disk = disk_below(workdir)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
        "load_at_start": os.getloadavg()[0],
        "kernel": platform.release(),
        "distribution": (field("/etc/os-release", "PRETTY_NAME", "=") or "").strip('"'),
        "disk": disk,
        "fuse": {path.name: path.read_text().strip() for path in sorted(Path("/sys/module/fuse/parameters").glob("*"))},
        "tools": {
            "git": version_of(["git", "--version"]),
            "tar": version_of(["tar", "--version"]),
            "cp": version_of(["cp", "--version"]),
            "rustc": version_of(["rustc", "--version"]),
            "sqlite": sqlite3.sqlite_version,
        },
    }


def field(path, name, separator=":"):
    """The value of the first line `name<separator>value` of a file, or None."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, found, value = line.partition(separator)
        if found and key.strip() == name:
            return value.strip()
    return None


def disk_below(directory):
    """The filesystem that holds `directory`: the last, longest mountpoint above it (proc_pid_mountinfo(5))."""
    best = {"mountpoint": ""}
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            mount, _, source = line.partition(" - ")
            mountpoint, options = mount.split()[4:6]
            inside = os.path.commonpath([mountpoint, os.path.realpath(directory)]) == mountpoint
            if inside and len(mountpoint) >= len(best["mountpoint"]):
                kind, device = source.split()[:2]
                best = {"mountpoint": mountpoint, "type": kind, "device": device, "options": options}
    return best
