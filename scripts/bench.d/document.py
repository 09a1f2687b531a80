"""The JSON document of a run: where it ran, what took part, and every sample; and the page made from it.

Guarantee: the tables can be made again from the document alone (`scripts/bench --from FILE`). It is also written when
a run is interrupted, with the samples there are.
"""

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
