"""One turn: one group of workloads on one subject in one round.

It is what every workload gets: where to work, which rows are asked for, and where to put a figure. A figure is reported
only after the result it stands for was checked, so a turn that fails keeps the figures it already has.
"""

import contextlib
import json
import os

from processes import Failed, run

MIB_PER_SECOND, SECONDS, MILLISECONDS = "MiB/s", "seconds", "ms"
PROGRAM_SECONDS_MAX = 900


class Turn:
    """`place` is the mounted subject (subjects.Mounted), `bench` what the run shares, `report(phase, value)` takes figures."""

    def __init__(self, group, place, bench, phases, seed, report):
        self.place, self.bench, self.seed, self.phases = place, bench, seed, frozenset(phases)
        self._units = {row.phase: row.unit for row in group.rows}
        self._report = report

    @property
    def directory(self):
        """Where the workload works: an empty directory of the subject."""
        return self.place.directory

    @property
    def log(self):
        """What programs say."""
        return self.place.home / "programs.log"

    @property
    def beside(self):
        """A directory of the plain disk for results that are only to be checked."""
        return self.place.home

    def wanted(self, *phases):
        """Whether one of these rows is asked for."""
        return not self.phases.isdisjoint(phases)

    def record(self, phase, ops, seconds, byte_count=0):
        """The figure of a row from what was counted and timed."""
        unit = self._units.get(phase)
        if unit in (SECONDS, MILLISECONDS):
            self.report(phase, seconds / ops * (1000 if unit == MILLISECONDS else 1))
        else:
            self.report(phase, (byte_count / 2**20 if unit == MIB_PER_SECOND else ops) / seconds)

    def report(self, phase, value):
        """The figure of a row as it is."""
        if phase in self.phases:
            self._report(phase, value)

    def during(self, *phases):
        """A context for the time in which these phases run, and nothing else; scripts/profile looks on from here."""
        return contextlib.nullcontext()

    # What bench_ops is told so that it opens and closes such a context itself.
    series_options = ()

    def seconds(self, command, *phases, env=None, cwd=None, stdout=None):
        """Run a program to its end, with nothing of earlier work left to write back; `phases` are those it is run for."""
        os.sync()
        with self.during(*phases):
            return run(command, self.log, PROGRAM_SECONDS_MAX, env=env, cwd=cwd, stdout=stdout)

    def lines(self, command, seconds_max, *phases):
        """Run a program that times itself and prints a JSON line for each phase; returns phase -> operations per second.

        The lines before a failure count.
        """
        printed = self.beside / "lines.json"
        failure = None
        with open(printed, "wb") as stdout:
            try:
                with self.during(*phases):
                    run(command, self.log, seconds_max, stdout=stdout)
            except Failed as problem:
                failure = problem
        rates = {}
        for line in printed.read_text().splitlines():
            result = json.loads(line)
            rates[result["workload"]] = result["ops"] / result["seconds"]
            self.record(result["workload"], result["ops"], result["seconds"], result["bytes"])
        if failure:
            raise failure
        return rates


def drop_names():
    """Make the kernel forget names and attributes; the pages of the disk stay (proc_sys_vm(5), drop_caches)."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("2")
