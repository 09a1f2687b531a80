"""The rows of the table, in its order, and the workload that makes each.

A group is what runs on one fresh mount. A row is one of its phases. Rows are named `group/phase`; that is what --only
matches, and what targets.py and the JSON file call them.
"""

from dataclasses import dataclass
from typing import Callable

import compiling
import copies
import database
import packages
import programs
import series
import session
import workqueue
from turn import MIB_PER_SECOND, MILLISECONDS, SECONDS

PER_SECOND, SHARE, MIB, BYTES = "per second", "share", "MiB", "bytes"

# Units whose figures are no speed: they have no ratio to the plain disk, and no best.
NO_SPEED = (SHARE, MIB, BYTES)

SMALL_PHASES = [
    ("create", "create, write, close"),
    ("stat-first", "stat, names dropped"),
    ("stat-warm", "stat, warm"),
    ("list-first", "list with attributes, names dropped"),
    ("list-warm", "list with attributes, warm"),
    ("read-first", "open, read, close, names dropped"),
    ("read-warm", "open, read, close, warm"),
    ("append", "open, append 100 bytes, close"),
    ("rename", "rename"),
    ("unlink", "unlink"),
    ("create-again", "create anew right after the unlink"),
]


@dataclass(frozen=True)
class Row:
    phase: str
    title: str
    unit: str = SECONDS
    # Told of a daemon or its store: the plain disk has no figure, and that is no failure.
    of_a_daemon: bool = False


@dataclass(frozen=True)
class Sizes:
    """How much work; `quick` is for seeing that everything works, its figures mean nothing."""

    files: int = 4000
    big_mib: int = 512
    random_ops: int = 20_000
    fsyncs: int = 500
    source_files: int = 2000
    package_files: int = 30_000
    modules: int = 20
    inserts: int = 10_000
    entries: int = 100_000
    items: int = 1000
    long_items: int = 10_000
    lines: int = 100_000
    opened_files: int = 100_000
    library_writes: int = 20_000
    commands: int = 20
    scale_files: int = 100_000
    million_files: int = 1_000_000
    million_items: int = 100_000
    warm_seconds: float = 0.5


QUICK = Sizes(
    files=300, big_mib=16, random_ops=500, fsyncs=30, source_files=200, package_files=600, modules=2, inserts=200,
    entries=2000, items=50, long_items=300, lines=2000, opened_files=2000, library_writes=200, commands=3, scale_files=2000, million_files=5000, million_items=500,
    warm_seconds=0.05,
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Workloads that share a mount; `measure(turn)` runs them. See turn.py for what a turn offers."""

    name: str
    title: str
    rows: tuple
    measure: Callable
    suits: Callable = lambda subject: True
    # Runs only when its own option asks for it.
    opt_in: bool = False


def groups(sizes, file_sizes):
    """All groups in the order of the table."""
    found = []
    for size in file_sizes:
        for clients in (1, 2):
            rows = tuple(Row(phase, title, PER_SECOND) for phase, title in SMALL_PHASES)
            title = f"Files of {size // 1024} KiB, {clients} client{'s' if clients > 1 else ''}"
            work = series.runner("small", "--count", sizes.files, "--size", size, "--clients", clients)
            found.append(Group(f"small-{size // 1024}k-{clients}", title, rows, work))
    found += [big(sizes), fsync(sizes), source_tree(sizes), package_tree(sizes), cargo(sizes), sqlite(sizes)]
    found += [directory(sizes), dedup(sizes), queue(sizes), long_queue(sizes), transfer(sizes), beside_a_mount(sizes)]
    found += [scale(sizes), million(sizes), queue_of_a_million(sizes)]
    return found


def big(sizes):
    rows = (
        Row("write-seq", "sequential write, fsync", MIB_PER_SECOND),
        Row("read-warm", "sequential read, warm", MIB_PER_SECOND),
        Row("read-cold", "sequential read, cold", MIB_PER_SECOND),
        Row("random-read-cold", "random read 4 KiB, cold", PER_SECOND),
        Row("random-read-warm", "random read 4 KiB, warm", PER_SECOND),
        Row("random-write", "random write 4 KiB, fsync at the end", PER_SECOND),
        Row("map-read-cold", "sequential read through a map, cold", MIB_PER_SECOND),
        Row("map-read-warm", "random read of a page through a map, warm", PER_SECOND),
        Row("map-write", "random write of a page through a map, msync at the end", PER_SECOND),
    )
    work = series.runner("big", "--size", sizes.big_mib * 2**20, "--count", sizes.random_ops)
    return Group("big", f"One file of {sizes.big_mib} MiB", rows, work)


def fsync(sizes):
    rows = (Row("append-fsync", "append 4 KiB, fsync", PER_SECOND),)
    return Group("fsync", "Durability", rows, series.runner("fsync", "--count", sizes.fsyncs))


def source_tree(sizes):
    rows = (
        Row("git-clone", "git clone"),
        Row("git-status", "git status"),
        Row("git-gc", "git gc after a commit"),
        Row("tar-x", "tar x"),
        Row("tar-c", "tar c"),
        Row("cp-a", "cp -a from the plain disk"),
        Row("cp-second", "cp -r --reflink=auto, within"),
        Row("rm-rf", "rm -rf"),
    )
    return Group("programs", f"Programs on {sizes.source_files:,} source files", rows, programs.measure)


def package_tree(sizes):
    rows = (
        Row("extract", "tar x"),
        Row("walk", "find with sizes, names dropped"),
        Row("read", "grep -r, names dropped"),
        Row("remove", "rm -rf"),
    )
    return Group("packages", f"A package manager's tree of {sizes.package_files:,} files", rows, packages.measure)


def cargo(sizes):
    rows = (
        Row("build", "from nothing"),
        Row("rebuild", "one module changed"),
        Row("nothing", "nothing to do"),
    )
    return Group("cargo", "cargo build", rows, compiling.measure)


def sqlite(sizes):
    rows = (
        Row("wal", "write-ahead log, a commit every 10", PER_SECOND),
        Row("rollback", "rollback journal, a commit every 10", PER_SECOND),
        Row("wal-one", "write-ahead log, one commit", PER_SECOND),
        Row("rollback-one", "rollback journal, one commit", PER_SECOND),
    )
    return Group("sqlite", f"SQLite, {sizes.inserts:,} inserts", rows, database.measure)


def directory(sizes):
    rows = (
        Row("create", "create empty files", PER_SECOND),
        Row("list", "list names, names dropped", PER_SECOND),
        Row("stat-random", "stat at random, names dropped", PER_SECOND),
        Row("remove", "remove at random", PER_SECOND),
    )
    work = series.runner("directory", "--count", sizes.entries)
    return Group("directory", f"One directory of {sizes.entries:,} entries", rows, work)


def dedup(sizes):
    rows = (
        Row("copies", "cp -a from the plain disk, nine copies more"),
        Row("space", "space of ten copies to that of one", SHARE),
    )
    return Group("dedup", f"Ten copies of {sizes.source_files:,} source files", rows, copies.measure)


def queue(sizes):
    rows = (
        Row("put", "put an item", PER_SECOND),
        Row("list", "list what is ready", PER_SECOND),
        Row("claim", "claim", PER_SECOND),
        Row("complete", "complete", PER_SECOND),
    )
    return Group("work", f"Work queue of {sizes.items:,} items", rows, workqueue.measure, suits=workqueue.suits)


def long_queue(sizes):
    rows = (
        Row("ls", "ls of what is ready", MILLISECONDS),
        Row("ls-l", "ls -l of what is ready", MILLISECONDS),
        Row("view-ready", "SQL view ready_work_items, all items in it", MILLISECONDS),
        Row("view-pending", "SQL view pending_work_items, all items in it", MILLISECONDS),
        Row("view-blocked", "SQL view blocked_work_items, all items in it", MILLISECONDS),
        Row("view-in_progress", "SQL view in_progress_work, all items in it", MILLISECONDS),
        Row("view-by_priority", "SQL view work_by_priority", MILLISECONDS),
    )
    title = f"Work queue of {sizes.long_items:,} items, listed"
    return Group("work-long", title, rows, workqueue.measure_long, suits=workqueue.suits)


def transfer(sizes):
    rows = (
        Row("export", "export", PER_SECOND),
        Row("import-new", "import into an empty tree", PER_SECOND),
        Row("import-again", "import over the same", PER_SECOND),
    )
    title = f"Export and import of {sizes.lines:,} lines"
    return Group("transfer", title, rows, workqueue.measure_transfer, suits=workqueue.suits)


def beside_a_mount(sizes):
    rows = (
        Row("open", f"open a store of {sizes.opened_files:,} files without a mount"),
        Row("ls", "nexus ls of 100 names, beside a mount"),
        Row("write", "write 1 KiB by the library, beside a mount", PER_SECOND),
        Row("stat-one", "stat, warm, one mount", PER_SECOND),
        Row("stat-four", "stat, warm, one of four mounts", PER_SECOND),
        Row("stat-share", "stat on one of four mounts to that on one alone", SHARE),
    )
    return Group("session", "Library, commands and several mounts", rows, session.measure, suits=session.suits)


def scale(sizes):
    files = sizes.scale_files
    rows = (
        Row("create-all", f"create {files:,} files of 1 KiB", PER_SECOND),
        Row("last-to-first", "last tenth to first tenth", SHARE),
        Row("daemon-memory", "memory of the daemon, peak", MIB, of_a_daemon=True),
    )
    return Group("scale", "Growth", rows, series.runner("scale", "--count", files, "--size", 1024))


def million(sizes):
    files = sizes.million_files
    rows = (
        Row("create-all", f"create {files:,} files of 1 KiB", PER_SECOND),
        Row("last-to-first", "last tenth to first tenth", SHARE),
        Row("daemon-memory", "memory of the daemon, peak", MIB, of_a_daemon=True),
        Row("mount-ready", "mount until it answers, names dropped", of_a_daemon=True),
        Row("metadata-bytes", "metadata of a file besides its name", BYTES, of_a_daemon=True),
    )
    work = series.growth("scale", "--count", files, "--size", 1024, files=files)
    # Peers would take hours; what is asked here is whether nexus grows as the disk does.
    return Group("million", f"{files:,} files", rows, work, suits=lambda subject: not subject.is_peer, opt_in=True)


def queue_of_a_million(sizes):
    rows = (
        Row("first-ready", "the first ready item", MILLISECONDS),
        Row("100-ready", "100 ready items", MILLISECONDS),
        Row("status", "status", MILLISECONDS),
        Row("claim", "claim, committed", MILLISECONDS),
        Row("complete", "complete, committed", MILLISECONDS),
        Row("set-status", "set user.status", PER_SECOND),
    )
    title = f"Work queue of {sizes.million_items:,} items among {sizes.million_files:,} files"
    return Group("work-million", title, rows, workqueue.measure_million, suits=workqueue.suits, opt_in=True)
