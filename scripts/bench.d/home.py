"""Where a turn lives on the plain disk, so that nobody inherits what the turns before have done to it.

For minutes ext4 passes over an inode number that was just freed, one by one (ext4_recently_deleted in fs/ext4/ialloc.c).
In the block groups where a turn before has removed its files, creating a file then costs thirty times as much, on the plain
disk and for every subject that keeps a file as a file. The rows create-again show that on purpose; no other row should by
accident. So directories are spread over the disk, several are tried, and the one is taken where files are created fastest.
"""

import os
import subprocess
import time

CANDIDATES = 6
PROBE_FILES = 64


def make_scratch(directory):
    """A directory whose children ext4 spreads over the disk (chattr(1), attribute T), as it does at the top of a disk."""
    directory.mkdir()
    # Other filesystems have neither the attribute nor the need.
    subprocess.run(["chattr", "+T", str(directory)], capture_output=True)


def choose(scratch, name):
    """A fresh directory `name` in `scratch`, the best of some.

    What the probes created stays until the end of the run: removing it would spoil the place for those who come later.
    """
    probes = scratch / f"{name}.probes"
    tried = []
    for number in range(CANDIDATES):
        candidate = scratch / f"{name}.{number}"
        (candidate / "probe").mkdir(parents=True)
        start = time.perf_counter()
        for file in range(PROBE_FILES):
            (candidate / "probe" / f"{file}").touch()
        tried.append((time.perf_counter() - start, candidate))
    tried.sort()
    probes.mkdir()
    for number, (_, candidate) in enumerate(tried):
        (candidate / "probe").rename(probes / f"{number}")
        if number:
            candidate.rename(probes / f"{number}-home")
    home = scratch / name
    tried[0][1].rename(home)
    return home


def remove_tree(directory):
    """Remove a scratch directory, but never walk into a mount that would not go; then let the disk settle."""
    subprocess.run(["rm", "-rf", "--one-file-system", str(directory)], capture_output=True)
    os.sync()
