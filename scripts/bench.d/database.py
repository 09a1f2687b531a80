"""SQLite on the subject: both kinds of journal, a commit every ten inserts and one for all."""

import sys
from pathlib import Path

from turn import PROGRAM_SECONDS_MAX

INSERTS = Path(__file__).with_name("inserts.py")
INSERTS_PER_TRANSACTION = 10

# Phase, journal, whether one transaction holds all inserts.
WAYS = [
    ("wal", "wal", False),
    ("rollback", "delete", False),
    ("wal-one", "wal", True),
    ("rollback-one", "delete", True),
]


def measure(turn):
    inserts = turn.bench.sizes.inserts
    for phase, journal, at_once in WAYS:
        if turn.wanted(phase):
            database = turn.directory / f"{phase}.db"
            size = inserts if at_once else INSERTS_PER_TRANSACTION
            turn.lines([sys.executable, INSERTS, database, journal, inserts, size, phase], PROGRAM_SECONDS_MAX, phase)
