"""Real programs on a tree of source files: git, tar, cp and rm.

After each program the result is compared with the tree, byte for byte.
"""

import time

from processes import Failed, last_words
from source import archive_content, expect, tree_content

STATUS_REPEATS = 5
SECOND_OF_THE_INDEX = 1.1


def measure(turn):
    """What a later program needs is done in any case, and reported where it was asked for."""
    source = turn.bench.source_tree()
    extracted = turn.directory / "tree"
    if turn.wanted("git-clone", "git-status", "git-gc"):
        measure_git(turn, source, turn.directory / "clone")

    seconds = turn.seconds(["tar", "-xf", source.archive, "-C", turn.directory], "tar-x")
    expect("tar x", tree_content(extracted), source.content)
    turn.record("tar-x", 1, seconds)
    if turn.wanted("tar-c"):
        # Not to /dev/null: tar would see that and read no file.
        packed = turn.beside / "packed.tar"
        with open(packed, "wb") as stdout:
            seconds = turn.seconds(["tar", "-cf", "-", "-C", turn.directory, "tree"], "tar-c", stdout=stdout)
        expect("tar c", archive_content(packed), source.content)
        turn.record("tar-c", 1, seconds)
    if turn.wanted("cp-a", "rm-rf"):
        copy = turn.directory / "copy"
        seconds = turn.seconds(["cp", "-a", source.tree, copy], "cp-a")
        expect("cp -a", tree_content(copy), source.content)
        turn.record("cp-a", 1, seconds)
    if turn.wanted("cp-second"):
        second = turn.directory / "second"
        seconds = turn.seconds(["cp", "-r", "--reflink=auto", extracted, second], "cp-second")
        expect("cp -r --reflink=auto", tree_content(second), source.content)
        turn.record("cp-second", 1, seconds)
    if turn.wanted("rm-rf"):
        seconds = turn.seconds(["rm", "-rf", copy], "rm-rf")
        if copy.exists():
            raise Failed("rm -rf: the directory is still there")
        turn.record("rm-rf", 1, seconds)


def measure_git(turn, source, clone):
    """A clone, its status, and its collection of garbage after some commits."""
    command = ["git", "clone", "--quiet", "--no-local", source.repository, clone]
    seconds = turn.seconds(command, "git-clone", env=source.environment)
    expect("git clone", tree_content(clone), source.content)
    turn.record("git-clone", 1, seconds)
    if turn.wanted("git-status"):
        # The first status after a clone rewrites the index; everyday ones do not.
        measure_status(turn, source, clone)
    if turn.wanted("git-gc"):
        changed = commit_loose_objects(turn, source, clone)
        seconds = turn.seconds(["git", "-C", clone, "gc", "--quiet"], "git-gc", env=source.environment)
        turn.seconds(["git", "-C", clone, "fsck", "--strict", "--no-progress"], env=source.environment)
        if any((clone / ".git" / "objects" / f"{byte:02x}").exists() for byte in range(256)):
            raise Failed("git gc: it left loose objects")
        expect("git gc", tree_content(clone), changed)
        turn.record("git-gc", 1, seconds)


def measure_status(turn, source, clone):
    """Several times `git status` in a clean clone that is older than a second.

    What changed in the second in which the index was written, git reads again each time.
    """
    time.sleep(SECOND_OF_THE_INDEX)
    total = 0
    for repeat in range(STATUS_REPEATS + 1):
        said = turn.beside / "status"
        with open(said, "wb") as stdout:
            command = ["git", "-C", clone, "status", "--porcelain"]
            seconds = turn.seconds(command, "git-status", env=source.environment, stdout=stdout)
        if said.stat().st_size:
            raise Failed(f"git status: a clean clone is reported as changed: {last_words(said)}")
        total += seconds if repeat else 0
    turn.record("git-status", STATUS_REPEATS, total)


def commit_loose_objects(turn, source, clone):
    """A commit that changes every tenth file, so that there is something to pack; returns the content afterwards."""
    for name in sorted(source.content)[::10]:
        with open(clone / name, "a") as file:
            file.write(f"changed in round {turn.seed}\n")
    author = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org"]
    turn.seconds(["git", "-C", clone, *author, "commit", "--quiet", "--all", "-m", "change"], env=source.environment)
    return tree_content(clone)
