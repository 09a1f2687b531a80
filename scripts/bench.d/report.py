"""From samples to a table: medians, ratios, notes; for the terminal and for the page.

Both tables are made from the JSON of a run and nothing else, so they can be printed again later. A ratio always means speed
against the plain disk of the same run: 1.00 as fast, 2.00 twice as fast, for seconds and for rates alike.
"""

import statistics

from turn import MILLISECONDS, SECONDS
from workloads import NO_SPEED, SHARE

# Samples further apart than this part of their median are marked: look at them before believing them.
SPREAD_MAX = 0.25

LEGEND = "The number after a figure is the speed against the plain disk (1.00: as fast; 2.00: twice as fast)."
PAGE_MARKS = "Bold: the best of the mounts. `~`: samples differ by more than a quarter. failed: the reason stands below."
MARKS = "* best of the mounts   ~ samples differ by more than a quarter   - no figure   failed: see the notes"


class Cell:
    """One row of one subject."""

    def __init__(self, row, cell, plain):
        self.samples = cell.get("samples", [])
        self.failed = "error" in cell
        self.unit = row["unit"]
        self.median = statistics.median(self.samples) if self.samples and not self.failed else None
        self.ratio = self._ratio(plain)

    def _ratio(self, plain):
        if self.median is None or not plain or self.unit in NO_SPEED:
            return None
        return plain / self.median if self.unit in (SECONDS, MILLISECONDS) else self.median / plain

    def unsteady(self):
        if not self.median or len(self.samples) < 2:
            return False
        low, high = min(self.samples), max(self.samples)
        if len(self.samples) > 4:
            # With many rounds one outlier is to be expected; the middle half is not to be spread.
            low, _, high = statistics.quantiles(self.samples, n=4)
        return (high - low) / self.median > SPREAD_MAX

    def figure(self):
        if self.median is None:
            return "failed" if self.failed else "-"
        return figure(self.median, self.unit) + ("~" if self.unsteady() else "")


def figure(value, unit):
    """A number with the digits that say something in its unit."""
    if unit in (SECONDS, MILLISECONDS):
        return f"{value:.3f}"
    if unit == SHARE:
        return f"{value:.2f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def cells_of(run, row):
    """The cells of a row, by subject, and the name of the mount that is best in it."""
    found, plain = {}, None
    for name in run["subjects"]:
        found[name] = Cell(row, row["cells"].get(name, {}), plain)
        if name == "plain":
            plain = found[name].median
    mounts = {name: cell.ratio for name, cell in found.items() if name != "plain" and cell.ratio is not None}
    best = max(mounts, key=mounts.get) if len(mounts) > 1 else None
    return found, best


def headline(run):
    machine, options = run["machine"], run["options"]
    disk = machine["disk"]
    quick = " QUICK RUN: the figures mean nothing." if options["quick"] else ""
    rounds = f"{options['rounds']} round{'s' if options['rounds'] != 1 else ''}, medians."
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_mib'] / 1024:.0f} GiB; Linux {machine['kernel']}; "
        f"{disk.get('type')} on {disk.get('device')}; {machine['date'][:10]}; {rounds}{quick}"
    )


def text(run):
    """The table for the terminal."""
    subjects = list(run["subjects"])
    width = max(len(title) for group in run["groups"] for title in row_titles(group)) + 4
    column = max([len(name) for name in subjects] + [17]) + 2
    lines = [headline(run), LEGEND, MARKS, ""]
    lines.append(" " * width + "".join(name.rjust(column) for name in subjects))
    for group in run["groups"]:
        lines += ["", group["title"] + (f", {group['rows'][0]['unit']}" if has_one_unit(group) else "")]
        for row, title in zip(group["rows"], row_titles(group)):
            found, best = cells_of(run, row)
            cells = "".join(text_cell(found[name], name == best).rjust(column) for name in subjects)
            lines.append(f"  {title:<{width - 2}}{cells}".rstrip())
    return "\n".join(lines + [""] + closing(run))


def has_one_unit(group):
    return len({row["unit"] for row in group["rows"]}) == 1


def row_titles(group):
    """With the unit, unless the heading has it for all rows."""
    return [row["title"] if has_one_unit(group) else f"{row['title']}, {row['unit']}" for row in group["rows"]]


def text_cell(cell, is_best):
    ratio = "" if cell.ratio is None else f"{cell.ratio:.2f}"
    return f"{cell.figure()} {ratio:>6}{'*' if is_best else ' '}"


def markdown(run):
    """The table for a page: figures for plain and nexus, ratios for the peers."""
    subjects = list(run["subjects"])
    full = [name for name in subjects if not run["subjects"][name]["is_peer"]]
    legend = LEGEND.replace("after a figure", "in parentheses, or standing alone,")
    lines = [headline(run), "", f"{legend} {PAGE_MARKS}", ""]
    lines.append("| | " + " | ".join(subjects) + " |")
    lines.append("|---|" + "---:|" * len(subjects))
    for group in run["groups"]:
        lines.append(f"| **{group['title']}** |" + " |" * len(subjects))
        for row in group["rows"]:
            found, best = cells_of(run, row)
            cells = [markdown_cell(found[name], name in full, name == best) for name in subjects]
            lines.append(f"| {row['title']}, {row['unit']} | " + " | ".join(cells) + " |")
    return "\n".join(lines + [""] + [f"- {line}" for line in closing(run)])


def markdown_cell(cell, in_full, is_best):
    if cell.ratio is None or cell.median is None:
        return cell.figure()
    ratio = f"**{cell.ratio:.2f}**" if is_best else f"{cell.ratio:.2f}"
    return f"{cell.figure()} ({ratio})" if in_full else ratio


def closing(run):
    """Who is ahead of whom, what was compared, and what went wrong."""
    lines = [verdict(run, name) for name in run["subjects"] if name != "plain" and not run["subjects"][name]["is_peer"]]
    lines += [f"{name}: {about['version']}{remark(about)}" for name, about in run["subjects"].items() if name != "plain"]
    lines += run["skipped"] + run["notes"]
    for group in run["groups"]:
        errors = {}
        for row in group["rows"]:
            for name, cell in row["cells"].items():
                if "error" in cell:
                    errors.setdefault((name, cell["error"]), []).append(row["phase"])
        for (name, error), rows in errors.items():
            lines.append(f"{name}: failed in {group['name']} ({', '.join(rows)}): {error}")
    return [line for line in lines if line]


def remark(about):
    return f" ({about['remark']})" if about["remark"] else ""


def verdict(run, name):
    """In how many rows this build of nexus is ahead of every peer, and where it is not."""
    ahead, behind = 0, []
    for group in run["groups"]:
        for row in group["rows"]:
            found, _ = cells_of(run, row)
            own = found[name].ratio
            rivals = [found[peer].ratio or 0 for peer, about in run["subjects"].items() if about["is_peer"]]
            if own is None or not any(rivals):
                continue
            if own >= max(rivals):
                ahead += 1
            else:
                behind.append(f"{group['name']}/{row['phase']}")
    if not ahead and not behind:
        return None
    return f"{name} is ahead of every peer in {ahead} of {ahead + len(behind)} rows" + (
        f"; behind in {', '.join(behind)}" if behind else ""
    )
