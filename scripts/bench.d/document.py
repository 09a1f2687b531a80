"""The JSON document of a run: where it ran, what took part, and every sample; and the page made from it.

Guarantee: the tables can be made again from the document alone (`scripts/bench --from FILE`). It is also written when
a run is interrupted, with the samples there are.
"""

import copy
import json

import machine
import plot
import report
import targets
from processes import Failed

# What `publish` writes stands between these lines of the page; what is around them is written by hand.
BEGIN = "<!-- figures: written by scripts/bench --document -->"
END = "<!-- end of the figures -->"


def blank(options, workdir, chosen, groups, skipped):
    """The JSON document of a run, still without figures."""
    return {
        "format": 1,
        "machine": machine.describe(workdir),
        "options": {
            "rounds": options.rounds,
            "quick": options.quick,
            "only": options.only.pattern,
            "profile": options.profile,
        },
        "subjects": {
            subject.name: {"version": subject.version(), "is_peer": subject.is_peer, "remark": subject.remark}
            for subject in chosen
        },
        "skipped": skipped,
        "notes": [],
        "groups": [
            {
                "name": group.name,
                "title": group.title,
                "rows": [
                    {"phase": row.phase, "title": row.title, "unit": row.unit, "cells": {}}
                    for row in group.rows
                    if options.only.search(f"{group.name}/{row.phase}")
                ],
            }
            for group in groups
        ],
    }


def joined(runs):
    """One document of several runs: each adds the groups that those before it have not, and says so."""
    run = copy.deepcopy(runs[0])
    for other in runs[1:]:
        for what in ("cpu", "kernel"):
            if other["machine"][what] != run["machine"][what]:
                raise Failed(f"--from: one run is of {run['machine'][what]}, another of {other['machine'][what]}")
        if any(other["options"][what] != run["options"][what] for what in ("quick", "profile")):
            raise Failed("--from: runs of different builds, or a quick one, are not put together")
        known = {group["name"] for group in run["groups"]}
        further = [group for group in other["groups"] if group["name"] not in known]
        if not further:
            raise Failed("--from: a run has no group that those before it have not")
        names, rounds = ", ".join(group["name"] for group in further), other["options"]["rounds"]
        run["notes"].append(f"{names}: of a run of their own with {rounds} rounds, {other['machine']['date'][:10]}")
        run["notes"] += [note for note in other["notes"] if note not in run["notes"]]
        run["groups"] += further
        for name, subject in other["subjects"].items():
            if run["subjects"].setdefault(name, subject)["version"] != subject["version"]:
                raise Failed(f"--from: {name} is not the same in all runs")
    return run


def write(path, run):
    """Write the document, and return where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run, indent=1) + "\n")
    return path


def publish(run, directory):
    """Put plot, table and goals of a run into the page; returns what was written."""
    if run["options"]["quick"]:
        raise Failed("--document: the figures of a quick run mean nothing, they are not written down")
    page, picture = directory / "PERFORMANCE.md", directory / "performance.svg"
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Failed(f"{page}: the lines {BEGIN!r} and {END!r} are missing: between them the figures are written")
    shown = "![Speed of each subject against the plain disk, row by row](performance.svg)"
    figures = "\n\n".join([report.markdown(run), shown, "## What is to be reached", targets.markdown(run)])
    picture.write_text(plot.svg(run))
    page.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}")
    return [picture, page]
