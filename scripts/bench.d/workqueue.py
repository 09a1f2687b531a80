"""The work queue of nexus, where the build has one; nobody else has it, so there is nothing to compare."""

import sys
from pathlib import Path

from subjects import Nexus
from turn import PROGRAM_SECONDS_MAX

ITEMS = Path(__file__).with_name("items.py")


def suits(subject):
    """Whether the subject is a nexus with a work queue."""
    return isinstance(subject, Nexus) and subject.knows("work")


def measure(turn):
    views = turn.place.top / ".work"
    command = [sys.executable, ITEMS, views, turn.directory, turn.bench.sizes.items]
    turn.lines(command, PROGRAM_SECONDS_MAX, "put", "list", "claim", "complete")
