"""The same tree again and again: how long it takes, and what it adds to the store."""

from source import expect, tree_content

COPIES = 10


def measure(turn):
    """The first copy is new to the store; the others, copied from the plain disk too, hold nothing new."""
    source = turn.bench.source_tree()
    copy = lambda number: ["cp", "-a", source.tree, turn.directory / f"copy{number}"]
    turn.seconds(copy(1))
    if turn.wanted("space"):
        of_one = turn.place.stored_bytes()
    seconds = sum(turn.seconds(copy(number), "copies") for number in range(2, COPIES + 1))
    if turn.wanted("space"):
        of_all = turn.place.stored_bytes()
    for number in range(1, COPIES + 1):
        expect(f"cp -a, copy {number}", tree_content(turn.directory / f"copy{number}"), source.content)
    turn.record("copies", 1, seconds)
    if turn.wanted("space"):
        turn.report("space", of_all / of_one)
