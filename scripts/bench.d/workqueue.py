"""The work queue of nexus, where the build has one; nobody else has it, so there is nothing to compare."""

import sys
from pathlib import Path

from processes import Failed
from subjects import Nexus
from turn import PROGRAM_SECONDS_MAX

ITEMS = Path(__file__).with_name("items.py")
# How often a long directory is listed.
LISTINGS = 5


def suits(subject):
    """Whether the subject is a nexus with a work queue."""
    return isinstance(subject, Nexus) and subject.knows("work")


def measure(turn):
    views = turn.place.top / ".work"
    command = [sys.executable, ITEMS, views, turn.directory, turn.bench.sizes.items]
    turn.lines(command, PROGRAM_SECONDS_MAX, "put", "list", "claim", "complete")


def measure_long(turn):
    """A queue as long as a directory of it gets: its views through SQL without a mount, then `ls` on one."""
    items, store = turn.bench.sizes.long_items, turn.place.home / "data"
    turn.place.umount()
    command = [turn.bench.bench_work, "views", store, "--files", 0, "--items", items]
    turn.lines(command, PROGRAM_SECONDS_MAX)
    turn.place.mount()
    list_ready(turn, "ls", [], items, lambda line: line.count("-item"))
    list_ready(turn, "ls-l", ["-l"], items, lambda line: line.count(" -> ../../work"))


def list_ready(turn, phase, options, items, entries_in):
    """`ls` of what is ready, as often as gives a mean; a line of the right kind for each item, or it is a failure."""
    if not turn.wanted(phase):
        return
    printed, spent = turn.beside / phase, 0.0
    for _ in range(LISTINGS):
        with open(printed, "wb") as stdout:
            spent += turn.seconds(["ls", *options, turn.place.top / ".work" / "ready"], phase, stdout=stdout)
        found = sum(entries_in(line) for line in printed.read_text().splitlines())
        if found != items:
            raise Failed(f"ls {' '.join(options)}: {found} items listed instead of {items}")
    turn.record(phase, LISTINGS, spent)


def measure_million(turn):
    """Questions to a queue beside a million files, through the library in one process, in a store of its own."""
    sizes = turn.bench.sizes
    command = [turn.bench.bench_work, "questions", turn.beside / "queue"]
    command += ["--files", sizes.million_files, "--items", sizes.million_items]
    turn.lines(command, PROGRAM_SECONDS_MAX)


def measure_transfer(turn):
    """Export and import through the library in one process, in a store of its own."""
    turn.lines([turn.bench.bench_transfer, turn.beside / "transfer", turn.bench.sizes.lines], PROGRAM_SECONDS_MAX)
