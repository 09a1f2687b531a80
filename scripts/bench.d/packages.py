"""A tree as a package manager leaves it: very many small files in very many directories, one licence in all of them.

It is made by rule and handed to the subject as an archive; walking and reading begin with names forgotten, as after a
start of the machine, and are done by find(1) and grep(1).
"""

import io
import random
import tarfile

from processes import Failed
from source import WORDS, expect, fingerprint, tree_content
from turn import drop_names

FILES_PER_PACKAGE = 12
NEEDLE = "needle-in-the-haystack"
NEEDLE_EVERY = 997


class PackageTree:
    """The archive, and what is in it."""

    def __init__(self, directory, file_count):
        directory.mkdir(parents=True)
        self.archive = directory / "packages.tar"
        self.content, self.needles, self.size_bytes = {}, set(), 0
        rng = random.Random(30_000)
        text = " ".join(rng.choices(WORDS, k=40_000)).encode()
        with tarfile.open(self.archive, "w") as archive:
            for index in range(file_count):
                name, body = self._file(rng, text, index)
                member = tarfile.TarInfo(f"modules/{name}")
                member.size, member.mtime = len(body), 1_700_000_000
                archive.addfile(member, io.BytesIO(body))
                self.content[name] = fingerprint(False, body)
                self.size_bytes += len(body)

    def _file(self, rng, text, index):
        """Where the file `index` is, and what is in it."""
        package, place = divmod(index, FILES_PER_PACKAGE)
        top = f"@scope{package % 40}/package{package:05}" if package % 3 == 0 else f"package{package:05}"
        if place == 0:
            return f"{top}/LICENSE", text[:1100]
        directory = ("", "", "lib/", "lib/", "lib/internal/", "dist/", "dist/esm/", "types/")[place % 8]
        name = "package.json" if place == 1 else f"{directory}file{place:02}.js"
        size = min(50_000, int(rng.lognormvariate(6.9, 1.2)) + 20)
        start = rng.randrange(len(text) - size)
        body = f"// {top}/{name}\n".encode() + text[start : start + size] + b"\n"
        if index % NEEDLE_EVERY == 1:
            self.needles.add(f"{top}/{name}")
            body += f"{NEEDLE}\n".encode()
        return f"{top}/{name}", body


def measure(turn):
    packages = turn.bench.package_tree()
    modules = turn.directory / "modules"
    seconds = turn.seconds(["tar", "-xf", packages.archive, "-C", turn.directory], "extract")
    expect("tar x", tree_content(modules), packages.content)
    turn.record("extract", 1, seconds)
    if turn.wanted("walk"):
        drop_names()
        printed = turn.beside / "walk"
        with open(printed, "wb") as stdout:
            seconds = turn.seconds(["find", modules, "-type", "f", "-printf", "%s\\n"], "walk", stdout=stdout)
        sizes = [int(line) for line in printed.read_text().split()]
        if (len(sizes), sum(sizes)) != (len(packages.content), packages.size_bytes):
            raise Failed(f"find: {len(sizes)} files of {sum(sizes)} bytes together are not what was extracted")
        turn.record("walk", 1, seconds)
    if turn.wanted("read"):
        drop_names()
        printed = turn.beside / "read"
        with open(printed, "wb") as stdout:
            command = ["grep", "--recursive", "--files-with-matches", NEEDLE, "."]
            seconds = turn.seconds(command, "read", cwd=modules, stdout=stdout)
        found = {line.removeprefix("./") for line in printed.read_text().splitlines()}
        if found != packages.needles:
            raise Failed(f"grep: found the word in {len(found)} files; it is in {len(packages.needles)}")
        turn.record("read", 1, seconds)
    if turn.wanted("remove"):
        seconds = turn.seconds(["rm", "-rf", modules], "remove")
        if modules.exists():
            raise Failed("rm -rf: the directory is still there")
        turn.record("remove", 1, seconds)
