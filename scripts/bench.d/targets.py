"""What nexus is to reach, row by row, and whether a run reached it.

The bounds are data and stand here alone. They are goals for medians of five rounds on two cores, as root, with the
kernel's io_uring transport; a run is never failed for missing one.
"""

from dataclasses import dataclass

from report import cells_of, figure, verdict


@dataclass(frozen=True)
class Target:
    """A bound for one row: of its ratio to the plain disk, or, with `of_figure`, of the figure itself."""

    row: str
    bound: float
    of_figure: bool = False
    at_most: bool = False

    def reached(self, value):
        return value <= self.bound if self.at_most else value >= self.bound


TARGETS = [
    Target("small-1k-1/create", 0.65),
    Target("small-1k-2/create", 1.2),
    Target("small-1k-1/stat-first", 0.12),
    Target("small-1k-1/stat-warm", 0.9),
    Target("small-1k-1/list-first", 0.7),
    Target("small-1k-1/list-warm", 0.7),
    Target("small-1k-1/read-warm", 0.15),
    Target("small-1k-2/read-warm", 0.2),
    Target("small-1k-1/append", 0.15),
    Target("small-1k-1/rename", 0.45),
    Target("small-1k-1/unlink", 0.35),
    Target("big/write-seq", 0.9),
    Target("big/read-warm", 0.95),
    Target("big/read-cold", 0.95),
    Target("big/random-read-cold", 1.0),
    Target("big/random-read-warm", 1.0),
    Target("big/random-write", 0.5),
    Target("fsync/append-fsync", 1.0),
    Target("programs/git-clone", 0.65),
    Target("programs/git-status", 0.7),
    Target("programs/tar-c", 0.8),
    Target("programs/cp-a", 0.5),
    Target("programs/rm-rf", 0.4),
    Target("programs/cp-second", 1.0),
    Target("session/open", 0.020, of_figure=True, at_most=True),
    Target("session/ls", 0.030, of_figure=True, at_most=True),
    Target("session/write", 5000, of_figure=True),
    Target("session/stat-share", 0.95, of_figure=True),
    Target("million/last-to-first", 0.9, of_figure=True),
    Target("million/daemon-memory", 256, of_figure=True, at_most=True),
    Target("million/mount-ready", 1.0, of_figure=True, at_most=True),
    Target("million/metadata-bytes", 300, of_figure=True, at_most=True),
    Target("work-million/first-ready", 1, of_figure=True, at_most=True),
    Target("work-million/100-ready", 5, of_figure=True, at_most=True),
    Target("work-million/status", 5, of_figure=True, at_most=True),
    Target("work-million/claim", 1, of_figure=True, at_most=True),
    Target("work-million/set-status", 10_000, of_figure=True),
    Target("work-long/ls", 100, of_figure=True, at_most=True),
    Target("work-long/view-ready", 20, of_figure=True, at_most=True),
    Target("work-long/view-pending", 20, of_figure=True, at_most=True),
    Target("work-long/view-blocked", 20, of_figure=True, at_most=True),
    Target("work-long/view-in_progress", 20, of_figure=True, at_most=True),
    Target("work-long/view-by_priority", 20, of_figure=True, at_most=True),
    Target("transfer/export", 100_000, of_figure=True),
    Target("transfer/import-new", 100_000, of_figure=True),
    Target("transfer/import-again", 100_000, of_figure=True),
]


def bound_of(row):
    """The ratio that a row is to reach, or None."""
    return next((target.bound for target in TARGETS if target.row == row and not target.of_figure), None)


def judged(run):
    """The subject that the goals are for: nexus over the ring, or else the first build of nexus in the run."""
    own = [name for name, about in run["subjects"].items() if name != "plain" and not about["is_peer"]]
    return "nexus-ring" if "nexus-ring" in own else next(iter(own), None)


def outcomes(run):
    """For each goal: what it is, what was asked, what was found, and the word for it."""
    subject, rows = judged(run), {}
    for group in run["groups"]:
        for row in group["rows"]:
            rows[f"{group['name']}/{row['phase']}"] = (group, row)
    found = []
    for target in TARGETS:
        group, row = rows.get(target.row, (None, None))
        cell = cells_of(run, row)[0].get(subject) if row else None
        value = cell and (cell.median if target.of_figure else cell.ratio)
        title = f"{group['title']}: {row['title']}" if row else target.row
        show = (lambda number: figure(number, row["unit"])) if row and target.of_figure else "{:.3g}".format
        asked = f"at {'most' if target.at_most else 'least'} {target.bound:g}"
        if value is None:
            found.append((title, asked, "-", "not measured"))
        else:
            found.append((title, asked, show(value), "reached" if target.reached(value) else "not reached"))
    return found


def summary(run):
    """How many goals are reached, and how nexus stands to its peers over each transport."""
    subject, words = judged(run), [outcome[3] for outcome in outcomes(run)]
    if subject is None:
        return ["no build of nexus took part"]
    lines = [f"{subject}: {words.count('reached')} of {len(words)} goals reached, {words.count('not measured')} not measured"]
    for name in (subject, "nexus-dev", "nexus-lean"):
        stands = verdict(run, name) if name in run["subjects"] else None
        if stands and stands not in lines:
            lines.append(stands)
    return lines


def text(run):
    """The goals for the terminal."""
    found = outcomes(run)
    width = max(len(title) for title, *_ in found) + 2
    lines = [f"Goals, as ratios to the plain disk or as figures ({judged(run)})"]
    lines += [f"  {title:<{width}}{asked:>14}{value:>10}  {word}" for title, asked, value, word in found]
    return "\n".join(lines + [""] + summary(run))


def markdown(run):
    """The goals for a page."""
    lines = [f"| goal, as a ratio to the plain disk or as a figure | asked | {judged(run)} | |", "|---|---:|---:|---|"]
    lines += [f"| {' | '.join(outcome)} |" for outcome in outcomes(run)]
    return "\n".join(lines + [""] + [f"- {line}" for line in summary(run)])
