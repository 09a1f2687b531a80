"""The library and the commands of nexus beside a mount, and several mounts beside one; nobody else has them."""

import os
import time

from processes import Failed
from subjects import Nexus
from turn import PROGRAM_SECONDS_MAX

# Beside the mount that a turn has, for what four cost.
MOUNTS_MORE = 3


def suits(subject):
    """Whether the subject is a nexus whose daemon serves commands and further mounts."""
    return isinstance(subject, Nexus) and subject.knows("ls") and subject.knows("mounts")


def measure(turn):
    sizes, store = turn.bench.sizes, turn.place.home / "data"
    client = turn.bench.bench_client
    if turn.wanted("open"):
        aside = turn.beside / "opened"
        turn.lines([client, "open", aside, "--files", sizes.opened_files], PROGRAM_SECONDS_MAX, "open")
    if turn.wanted("ls"):
        measure_ls(turn, store)
    if turn.wanted("write"):
        command = [client, "write", store, "--count", sizes.library_writes, "--seed", turn.seed]
        turn.lines(command, PROGRAM_SECONDS_MAX, "write")
    if turn.wanted("stat-one", "stat-four", "stat-share"):
        measure_stat(turn, store)


def measure_ls(turn, store):
    """The whole command, from its start to its end."""
    directory = turn.directory / "listed"
    directory.mkdir()
    for number in range(100):
        (directory / f"{number:03}").touch()
    binary, times = turn.place.subject.binary, turn.bench.sizes.commands
    printed = turn.beside / "listed.txt"
    spent = 0.0
    for _ in range(times):
        with open(printed, "wb") as stdout:
            spent += turn.seconds([binary, "ls", "/listed", "--data-dir", store], "ls", stdout=stdout)
        if len(printed.read_text().splitlines()) != 100:
            raise Failed("nexus ls did not list 100 names")
    turn.record("ls", times, spent)


def measure_stat(turn, store):
    """stat(2) of files that the kernel knows: with one mount of the store, and through the same one with four."""
    paths = [turn.directory / f"known{number}" for number in range(100)]
    for path in paths:
        path.write_bytes(b"x")
    alone = warm_rate(turn, paths)
    turn.report("stat-one", alone)
    turn.place.umount()
    subject, more = turn.place.subject, [turn.place.home / f"more{number}" for number in range(MOUNTS_MORE)]
    for mountpoint in more:
        mountpoint.mkdir()
    turn.seconds(subject.mount_command([turn.place.top, *more], store))
    try:
        for mountpoint in more:
            # They have looked at the files, too, and would have to be told of changes.
            rate([mountpoint / path.name for path in paths], 0.1)
        among_four = warm_rate(turn, paths)
        turn.report("stat-four", among_four)
        turn.report("stat-share", among_four / alone)
    finally:
        for mountpoint in more:
            turn.seconds([subject.binary, "umount", mountpoint])


def warm_rate(turn, paths):
    """As `rate`, when the kernel knows the files."""
    rate(paths, 0.1)
    return rate(paths, turn.bench.sizes.warm_seconds)


def rate(paths, seconds):
    """Calls of stat(2) a second, for about so many seconds; the files are asked for by turns."""
    names, done = [os.fspath(path) for path in paths], 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for name in names:
            os.stat(name)
        done += len(names)
    return done / (time.perf_counter() - start)
