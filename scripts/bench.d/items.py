#!/usr/bin/env python3
"""The work queue through a mount, as a process of its own: `items.py VIEWS DIRECTORY ITEMS`.

Puts items, then works them off as a worker does: list what is ready, claim the first by renaming it, complete it. Prints
JSON lines as bench_ops does.
"""

import json
import os
import sys
import time

LISTINGS = 20


def main():
    views, directory, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    ready, claimed, done = (os.path.join(views, name) for name in ("ready", "in_progress", "completed"))
    os.mkdir(os.path.join(directory, "items"))

    start = time.perf_counter()
    for number in range(count):
        path = os.path.join(directory, "items", f"item{number:05}")
        with open(path, "xb") as file:
            file.write(b"what is to be done\n")
        os.setxattr(path, "user.priority", str(number % 10).encode())
        os.setxattr(path, "user.status", b"ready")
    put = time.perf_counter() - start
    names = expect(ready, count)
    report("put", count, put)

    start = time.perf_counter()
    for _ in range(LISTINGS):
        with os.scandir(ready) as entries:
            found = sum(1 for _ in entries)
        if found != count:
            sys.exit(f"items: {found} items listed instead of {count}")
    report("list", LISTINGS, time.perf_counter() - start)

    start = time.perf_counter()
    for name in names:
        os.rename(os.path.join(ready, name), os.path.join(claimed, name))
    claim = time.perf_counter() - start
    expect(ready, 0)
    names = expect(claimed, count)
    report("claim", count, claim)

    start = time.perf_counter()
    for name in names:
        os.rename(os.path.join(claimed, name), os.path.join(done, name))
    complete = time.perf_counter() - start
    expect(claimed, 0)
    expect(done, count)
    report("complete", count, complete)


def expect(view, count):
    """The entries of a view, in its order, when there are as many as there should be."""
    names = sorted(os.listdir(view))
    if len(names) != count:
        sys.exit(f"items: {view} has {len(names)} entries instead of {count}")
    return names


def report(phase, ops, seconds):
    print(json.dumps({"workload": phase, "ops": ops, "bytes": 0, "seconds": seconds}), flush=True)


main()
