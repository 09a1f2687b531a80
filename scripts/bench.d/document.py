"""The JSON document of a run: where it ran, what took part, and every sample.

Guarantee: the tables can be made again from the document alone (`scripts/bench --from FILE`). It is also written when
a run is interrupted, with the samples there are.
"""

import json

import machine


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
