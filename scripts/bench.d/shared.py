"""What the turns of one run share: the programs that were built, the sizes, and the trees to work on."""

import subprocess

import packages
import source
from choice import PROJECT, Usage, profile_directory


class Bench:
    """One run. The trees are made when they are first needed."""

    def __init__(self, sizes, scratch, bench_ops):
        self.sizes, self.scratch, self.bench_ops = sizes, scratch, bench_ops
        self.bench_client = bench_ops.with_name("bench_client")
        self.bench_work, self.bench_transfer = (bench_ops.with_name(name) for name in ("bench_work", "bench_transfer"))
        self._source_tree = self._package_tree = None

    def source_tree(self):
        """The files that git, tar and cp work on."""
        if self._source_tree is None:
            self._source_tree = source.SourceTree(self.scratch / "source", self.sizes.source_files)
        return self._source_tree

    def package_tree(self):
        """What a package manager would install."""
        if self._package_tree is None:
            self._package_tree = packages.PackageTree(self.scratch / "packages", self.sizes.package_files)
        return self._package_tree


def build(options, say):
    """Build what is measured and what measures it; returns the path of bench_ops."""
    if not options.no_build:
        command = ["cargo", "build", "--quiet", "--profile", options.profile, "--bin", "nexus"]
        for example in ("bench_ops", "bench_client", "bench_work", "bench_transfer"):
            command += ["--example", example]
        say("building")
        if subprocess.run(command, cwd=PROJECT).returncode != 0:
            raise Usage("the build failed")
    bench_ops = profile_directory(options) / "examples" / "bench_ops"
    if not bench_ops.exists():
        raise Usage(f"{bench_ops} is missing: leave out --no-build")
    return bench_ops
