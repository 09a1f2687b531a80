"""The rows of the table, and how the groups that produce them are run.

A group is what runs on one fresh mount: a series of bench_ops, or the programs. A row is one of its phases. Rows are named
`group/phase`; that is what --only matches.
"""

import json
from dataclasses import dataclass

import programs
from processes import Failed, peak_memory_bytes, run

PER_SECOND, MIB_PER_SECOND, SECONDS, SHARE, MIB = "per second", "MiB/s", "seconds", "share", "MiB"

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
    unit: str


@dataclass(frozen=True)
class Sizes:
    """How much work; `quick` is for seeing that everything works, its figures mean nothing."""

    files: int = 4000
    big_mib: int = 512
    random_ops: int = 20_000
    fsyncs: int = 500
    source_files: int = 2000
    scale_files: int = 100_000
    warm_seconds: float = 0.5
    series_seconds_max: int = 1800


QUICK = Sizes(
    files=300, big_mib=16, random_ops=500, fsyncs=30, source_files=200, scale_files=2000, warm_seconds=0.05
)


@dataclass(frozen=True)
class Group:
    """Workloads that share a mount. `series` is the argument list of bench_ops, or None for the programs."""

    name: str
    title: str
    rows: tuple
    series: tuple | None

    def measure(self, directory, bench, rows, seed, report):
        """Run the phases of `rows` in `directory`; `report(phase, value)` gets each figure once it is known to be right."""
        titles = {row.phase: row for row in self.rows}
        phases = {row.phase for row in rows}

        def record(phase, ops, seconds, byte_count=0):
            if phase in phases:
                report(phase, figure(titles[phase].unit, ops, seconds, byte_count))

        if self.series is None:
            programs.measure(directory, bench.source_tree(), phases.__contains__, record)
        else:
            run_series(self.series, directory, bench, phases, seed, record, report)


def figure(unit, ops, seconds, byte_count):
    """One measured number, in the unit of its row."""
    if unit == SECONDS:
        return seconds / ops
    return (byte_count / 2**20 if unit == MIB_PER_SECOND else ops) / seconds


def run_series(series, directory, bench, phases, seed, record, report):
    """Run bench_ops, and read its lines; those before a failure count."""
    command = [bench.bench_ops, directory, *series, "--seed", seed, "--warm-seconds", bench.sizes.warm_seconds]
    if series[0] in ("small", "big"):
        command += ["--phases", ",".join(sorted(phases))]
    said = directory.parent / "bench_ops.log"
    lines = directory.parent / "bench_ops.json"
    failure = None
    with open(lines, "wb") as stdout:
        try:
            run(command, said, bench.sizes.series_seconds_max, stdout=stdout)
        except Failed as problem:
            failure = problem
    rates = {}
    for line in lines.read_text().splitlines():
        result = json.loads(line)
        rates[result["workload"]] = result["ops"] / result["seconds"]
        record(result["workload"], result["ops"], result["seconds"], result["bytes"])
    if "create-last-tenth" in rates and "last-to-first" in phases:
        report("last-to-first", rates["create-last-tenth"] / rates["create-first-tenth"])
    if "daemon-memory" in phases and failure is None:
        # The plain disk has no daemon, and no figure.
        peak = peak_memory_bytes()
        if peak:
            report("daemon-memory", peak / 2**20)
    if failure:
        raise failure


def groups(sizes, file_sizes):
    """All groups in the order of the table."""
    found = []
    for size in file_sizes:
        for clients in (1, 2):
            series = ("small", "--count", sizes.files, "--size", size, "--clients", clients)
            rows = tuple(Row(phase, title, PER_SECOND) for phase, title in SMALL_PHASES)
            title = f"Files of {size // 1024} KiB, {clients} client{'s' if clients > 1 else ''}"
            found.append(Group(f"small-{size // 1024}k-{clients}", title, rows, series))
    found.append(big_group(sizes))
    fsync_rows = (Row("append-fsync", "append 4 KiB, fsync", PER_SECOND),)
    found.append(Group("fsync", "Durability", fsync_rows, ("fsync", "--count", sizes.fsyncs)))
    found.append(programs_group(sizes))
    scale_rows = (
        Row("create-all", f"create {sizes.scale_files:,} files of 1 KiB", PER_SECOND),
        Row("last-to-first", "last tenth to first tenth", SHARE),
        Row("daemon-memory", "memory of the daemon, peak", MIB),
    )
    found.append(Group("scale", "Growth", scale_rows, ("scale", "--count", sizes.scale_files, "--size", 1024)))
    return found


def big_group(sizes):
    rows = (
        Row("write-seq", "sequential write, fsync", MIB_PER_SECOND),
        Row("read-warm", "sequential read, warm", MIB_PER_SECOND),
        Row("read-cold", "sequential read, cold", MIB_PER_SECOND),
        Row("random-read-cold", "random read 4 KiB, cold", PER_SECOND),
        Row("random-read-warm", "random read 4 KiB, warm", PER_SECOND),
        Row("random-write", "random write 4 KiB, fsync at the end", PER_SECOND),
    )
    series = ("big", "--size", sizes.big_mib * 2**20, "--count", sizes.random_ops)
    return Group("big", f"One file of {sizes.big_mib} MiB", rows, series)


def programs_group(sizes):
    rows = (
        Row("git-clone", "git clone", SECONDS),
        Row("git-status", "git status", SECONDS),
        Row("tar-x", "tar x", SECONDS),
        Row("tar-c", "tar c", SECONDS),
        Row("cp-a", "cp -a from the plain disk", SECONDS),
        Row("cp-second", "cp -r --reflink=auto, within", SECONDS),
        Row("rm-rf", "rm -rf", SECONDS),
    )
    return Group("programs", f"Programs on {sizes.source_files:,} source files", rows, None)
