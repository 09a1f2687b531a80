"""What of all groups and subjects takes part in a run."""

import os
from pathlib import Path

import peers
import subjects
import workloads

PROJECT = Path(__file__).resolve().parent.parent.parent


class Usage(Exception):
    """What was asked for cannot be done; the message says what to do instead."""


def profile_directory(options):
    """Where cargo puts what it builds."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target"))
    return target / ("debug" if options.profile == "dev" else "release")


def groups(options):
    """The groups that have a row asked for."""
    try:
        file_sizes = [int(size) * 1024 for size in options.sizes.split(",")]
    except ValueError:
        raise Usage(f"--sizes {options.sizes}: whole numbers of KiB, such as 1,16") from None
    sizes = workloads.QUICK if options.quick else workloads.Sizes()
    found = [group for group in workloads.groups(sizes, file_sizes) if options.million or not group.opt_in]
    found = [group for group in found if any(options.only.search(f"{group.name}/{row.phase}") for row in group.rows)]
    if not found:
        raise Usage(f"no row matches {options.only.pattern!r}; --list names them (--list --million all of them)")
    return found


def known_subjects(options, workdir):
    """Every subject by name, in the order of the columns."""
    binary = profile_directory(options) / "nexus"
    try:
        builds = [subjects.Nexus.parse(text) for text in options.nexus]
    except ValueError as error:
        raise Usage(f"--nexus: {error}") from None
    found = [
        subjects.Plain(),
        subjects.NexusTransport("nexus-ring", binary, "io_uring"),
        subjects.NexusTransport("nexus-dev", binary, "dev_fuse"),
        subjects.NexusLean("nexus-lean", binary, "io_uring"),
        subjects.Nexus("nexus", binary),
        *builds,
        *peers.peers(workdir / "peers"),
    ]
    return {subject.name: subject for subject in found}


def names(options, known):
    """The names asked for: nexus over each transport it has, or as it is where there is no choice."""
    if options.subjects:
        return options.subjects.split(",")
    transports = [name for name in ("nexus-ring", "nexus-dev", "nexus-lean") if known[name].version() is not None]
    return ["plain", *(transports or ["nexus"]), *(text.partition("=")[0] for text in options.nexus)]


def chosen_subjects(options, known):
    """The subjects of this run, and a sentence for each that is left out."""
    wanted = names(options, known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise Usage(f"no subject named {', '.join(unknown)}; there are {', '.join(known)}")
    chosen, skipped = [], []
    for name, subject in known.items():
        by_default = not options.subjects and isinstance(subject, subjects.NexusTransport)
        if name not in wanted and not by_default and not (options.peers and subject.is_peer):
            continue
        if subject.version() is not None:
            chosen.append(subject)
        elif name in wanted:
            raise Usage(f"{name} does not run: {subject.remedy()}")
        else:
            skipped.append(f"{name}: left out: {subject.remedy()}")
    return chosen, skipped


def suited(groups, chosen, skipped):
    """The groups that one of the subjects can run; a sentence for each other goes to `skipped`."""
    found = [group for group in groups if any(group.suits(subject) for subject in chosen)]
    skipped += [f"{group.name}: left out: none of the subjects has what it measures" for group in groups if group not in found]
    if not found:
        raise Usage("; ".join(skipped))
    return found
