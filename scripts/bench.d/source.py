"""The tree of source files that programs work on, and what of a tree is compared.

The tree is made by rule, so every machine and every run works on the same bytes. It and its repository lie on the plain
disk; what is measured happens on the subject.
"""

import hashlib
import os
import random
import shutil
import subprocess
import tarfile

from processes import Failed, last_words, run
from turn import PROGRAM_SECONDS_MAX

FILES_PER_DIRECTORY = 14

# Nothing of this machine's git configuration takes part, and no background work starts between the measurements.
GIT_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "gc.auto",
    "GIT_CONFIG_VALUE_1": "0",
    "GIT_CONFIG_KEY_2": "advice.detachedHead",
    "GIT_CONFIG_VALUE_2": "false",
    "LC_ALL": "C",
}


class SourceTree:
    """The tree, its repository and its archive, on the plain disk."""

    def __init__(self, directory, file_count):
        self.repository = directory / "source.git"
        self.tree = directory / "tree"
        self.archive = directory / "tree.tar"
        self.log = directory / "log"
        self.environment = dict(os.environ, **GIT_ENVIRONMENT)
        directory.mkdir(parents=True)
        self._import(file_count)
        self.git(["clone", "--quiet", self.repository, self.tree])
        shutil.rmtree(self.tree / ".git")
        run(["tar", "--sort=name", "-cf", self.archive, "-C", directory, "tree"], self.log, PROGRAM_SECONDS_MAX)
        self.content = tree_content(self.tree)
        if len(self.content) != file_count:
            raise Failed(f"the source tree has {len(self.content)} files instead of {file_count}")

    def git(self, arguments, cwd=None):
        """Run git; returns the seconds."""
        return run(["git", *arguments], self.log, PROGRAM_SECONDS_MAX, cwd=cwd, env=self.environment)

    def _import(self, file_count):
        """A first commit of all files, then ten that each change a twentieth of them, through git-fast-import(1)."""
        self.git(["init", "--quiet", "--bare", "--initial-branch=main", self.repository])
        rng = random.Random(20240229)
        paths = [source_path(index) for index in range(file_count)]
        with open(self.log, "ab") as said:
            stream = subprocess.Popen(
                ["git", "fast-import", "--quiet"],
                cwd=self.repository,
                env=self.environment,
                stdin=subprocess.PIPE,
                stderr=said,
                stdout=said,
            )
            for revision in range(11):
                changed = paths if revision == 0 else rng.sample(paths, max(1, file_count // 20))
                stream.stdin.write(
                    b"commit refs/heads/main\ncommitter Bench <bench@example.org> %d +0000\n" % (1700000000 + revision)
                )
                stream.stdin.write(data(b"revision %d\n" % revision))
                for path in changed:
                    mode = b"100755" if path.endswith(".sh") else b"100644"
                    stream.stdin.write(b"M %s inline %s\n" % (mode, path.encode()) + data(source_text(rng)))
            stream.stdin.close()
            if stream.wait() != 0:
                raise Failed(f"git fast-import: {last_words(self.log)}")


def data(payload):
    return b"data %d\n%s\n" % (len(payload), payload)


def source_path(index):
    """Directories three deep, a dozen files in each, as a source tree has them."""
    directory = index // FILES_PER_DIRECTORY
    suffix = ("rs", "rs", "py", "md", "toml", "sh")[index % 6]
    return f"part{directory // 40}/module{directory // 5 % 8}/room{directory % 5}/file{index:05}.{suffix}"


def source_text(rng):
    """Lines of words, 1.5 KiB in the middle, a few of 60 KiB: text compresses in git as text does."""
    size = min(60_000, int(rng.lognormvariate(7.3, 1.3)) + 20)
    words = rng.choices(WORDS, k=size // 6 + 1)
    lines = [" ".join(words[start : start + 11]) for start in range(0, len(words), 11)]
    return ("\n".join(lines) + "\n").encode()


WORDS = [f"{a}{b}{c}" for a in ("re", "un", "de", "in") for b in ("name", "link", "stat", "open") for c in ("", "s", "_at")]


def fingerprint(executable, content):
    return f"{'x' if executable else '-'} {hashlib.sha256(content).hexdigest()}"


def tree_content(top):
    """Name, executable bit and digest of every file below `top`, `.git` left out."""
    found = {}
    for directory, directories, files in os.walk(top):
        directories[:] = [name for name in directories if name != ".git"]
        for name in files:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, top)] = fingerprint(os.lstat(path).st_mode & 0o100, file.read())
    return found


def archive_content(archive):
    """The same, of the one tree inside a tar archive."""
    with tarfile.open(archive) as members:
        return {
            member.name.partition("/")[2]: fingerprint(member.mode & 0o100, members.extractfile(member).read())
            for member in members
            if member.isfile()
        }


def expect(program, found, wanted):
    """Raise Failed unless two contents are the same."""
    if found != wanted:
        unlike = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise Failed(f"{program}: {len(unlike)} files are missing or other than they should be, first {unlike[0]}")
