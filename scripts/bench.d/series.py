"""The series of bench_ops, and what only the driver can see of them: memory, mount time and the size of the database."""

import shutil
import subprocess
import time

from processes import Failed, peak_memory_bytes
from turn import drop_names

SERIES_SECONDS_MAX = 3600

# What run_scale of bench_ops calls its files; the names are not counted as metadata.
SCALE_NAME_BYTES = len("f0000000")

# The table of the store that holds bodies; every other table and index is metadata.
BODY_TABLE = "small"


def runner(*series):
    """A workload that is one series of bench_ops."""

    def measure(turn):
        rates = run_series(turn, series)
        if "create-last-tenth" in rates:
            turn.report("last-to-first", rates["create-last-tenth"] / rates["create-first-tenth"])
        report_memory(turn)

    return measure


def run_series(turn, series):
    command = [turn.bench.bench_ops, turn.directory, *series, "--seed", turn.seed, *turn.series_options]
    command += ["--warm-seconds", turn.bench.sizes.warm_seconds, "--phases", ",".join(sorted(turn.phases))]
    return turn.lines(command, SERIES_SECONDS_MAX)


def report_memory(turn):
    # The plain disk has no daemon, and no figure.
    peak = peak_memory_bytes()
    if peak:
        turn.report("daemon-memory", peak / 2**20)


def growth(*series, files):
    """A workload that fills a store, then looks at what that did to it."""
    measure_series = runner(*series)

    def measure(turn):
        measure_series(turn)
        if not turn.wanted("mount-ready", "metadata-bytes"):
            return
        turn.place.umount()
        database = turn.place.home / "data" / "metadata.db"
        if database.exists():
            turn.report("metadata-bytes", metadata_bytes(database) / files - SCALE_NAME_BYTES)
        drop_names()
        start = time.perf_counter()
        turn.place.mount()
        seconds = time.perf_counter() - start
        if not any(turn.directory.iterdir()):
            raise Failed("the store is empty after it was mounted again")
        if database.exists():
            turn.report("mount-ready", seconds)

    return measure


def metadata_bytes(database):
    """The pages of all tables and indexes but the bodies (the virtual table dbstat)."""
    shell = shutil.which("sqlite3")
    if not shell:
        raise Failed("sqlite3 is not installed: it counts the pages of the database (apt-get install sqlite3)")
    query = f"SELECT sum(pgsize) FROM dbstat WHERE name <> '{BODY_TABLE}'"
    done = subprocess.run([shell, "-readonly", str(database), query], capture_output=True, text=True)
    if done.returncode != 0 or not done.stdout.strip():
        raise Failed(f"sqlite3 {database.name}: {done.stderr.strip()}")
    return int(done.stdout)
