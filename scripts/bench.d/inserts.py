#!/usr/bin/env python3
"""Inserts into an SQLite database, as a process of its own.

    inserts.py DATABASE JOURNAL INSERTS INSERTS_PER_TRANSACTION PHASE

Prints the JSON line of the phase, as bench_ops does, after the database was opened again and its rows were checked. With
`synchronous=FULL`, the default of SQLite, every commit waits for the disk.
"""

import json
import sqlite3
import sys
import time


def main():
    database, journal, inserts, per_transaction, phase = sys.argv[1:]
    inserts, per_transaction = int(inserts), int(per_transaction)
    connection = sqlite3.connect(database, isolation_level=None)
    mode = connection.execute(f"PRAGMA journal_mode={journal}").fetchone()[0]
    if mode != journal:
        sys.exit(f"inserts: the journal is {mode}, not {journal}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL, value BLOB NOT NULL)")
    connection.execute("CREATE INDEX item_name ON item (name)")

    start = time.perf_counter()
    for first in range(0, inserts, per_transaction):
        connection.execute("BEGIN IMMEDIATE")
        for number in range(first, min(first + per_transaction, inserts)):
            connection.execute("INSERT INTO item VALUES (?, ?, ?)", row(number))
        connection.execute("COMMIT")
    seconds = time.perf_counter() - start
    connection.close()

    connection = sqlite3.connect(database)
    if connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
        sys.exit("inserts: the database is damaged")
    found = connection.execute("SELECT id, name, value FROM item ORDER BY id").fetchall()
    if found != [row(number) for number in range(inserts)]:
        sys.exit(f"inserts: {len(found)} rows are not the {inserts} inserted")
    connection.close()
    print(json.dumps({"workload": phase, "ops": inserts, "bytes": 0, "seconds": seconds}))


def row(number):
    return number, f"name{number * 7919 % 1_000_003:07}", number.to_bytes(8, "little") * 12


main()
