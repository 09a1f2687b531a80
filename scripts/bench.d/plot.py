"""The plot of a run: one line for each row, one mark for each subject, the speed against the plain disk on a log scale.

An SVG written by hand, because it needs nothing installed, stays small, follows the reader's light or dark colours and
names each mark's figure where the pointer rests on it. It is made from the JSON of a run and nothing else.
"""

import math
from html import escape

from report import cells_of, headline
from targets import bound_of

WIDTH, LABELS, RIGHT = 980, 390, 24
ROW, HEADING, TOP = 17, 26, 92
RATIO_MIN, RATIO_MAX = 0.01, 4

# Subject, its shape, its colour on a light and on a dark ground. Blue and orange are told apart by all readers.
MARKS = {
    "nexus-ring": ("disc", "#0067b1", "#5cb8ff"),
    "nexus-dev": ("circle", "#0067b1", "#5cb8ff"),
    "nexus-lean": ("diamond", "#0067b1", "#5cb8ff"),
    "nexus": ("disc", "#0067b1", "#5cb8ff"),
    "juicefs": ("square", "#b8509a", "#e08cc6"),
    "gocryptfs": ("triangle", "#c25a00", "#ff9d45"),
    "bindfs": ("diamond", "#4d7d1f", "#9ccf66"),
    "rclone": ("cross", "#6b6b6b", "#b0b0b0"),
}
# For builds that were named on the command line.
OTHERS = [("square", "#7a4bc2", "#b595f0"), ("triangle", "#00807a", "#45cfc7"), ("diamond", "#a03030", "#f08a8a")]

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #222 } .ground { fill: #fff } .faint { fill: #666; font-size: 11px }
  .group { font-weight: 600 } .grid { stroke: #ddd }
  .one { stroke: #444; stroke-width: 1.5 } .goal { stroke: #999; stroke-width: 3 }
"""
DARK = """
    text { fill: #e6e6e6 } .ground { fill: #16181c } .faint { fill: #a0a0a0 }
    .grid { stroke: #33363c } .one { stroke: #ddd } .goal { stroke: #777 }
"""


def svg(run):
    """The whole picture."""
    subjects = [name for name in run["subjects"] if name != "plain"]
    marks = marks_of(subjects)
    body, y = [], TOP
    for group in run["groups"]:
        rows = [(row, cells_of(run, row)[0]) for row in group["rows"]]
        rows = [(row, cells) for row, cells in rows if any(cells[name].ratio for name in subjects)]
        if not rows:
            continue
        body.append(f'<text class="group" x="12" y="{y + HEADING - 8}">{escape(group["title"])}</text>')
        y += HEADING
        for row, cells in rows:
            body += plot_row(f"{group['name']}/{row['phase']}", row, cells, subjects, marks, y + ROW / 2)
            y += ROW
    dark = f"  @media (prefers-color-scheme: dark) {{{DARK}{colours(marks, 2)}  }}"
    names = 'xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Speed against the plain disk"'
    lines = [
        f'<svg {names} viewBox="0 0 {WIDTH} {y + 30}">',
        f"<style>{STYLE}{colours(marks, 1)}{dark}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{y + 30}"/>',
    ]
    return "\n".join([*lines, *header(run, subjects, marks), *grid(y), *body, "</svg>", ""])


def marks_of(subjects):
    others = iter(OTHERS * len(subjects))
    return {name: MARKS.get(name) or next(others) for name in subjects}


def colours(marks, place):
    """One class for each subject, numbered in the order of the columns: names may hold anything."""
    values = [mark[place] for mark in marks.values()]
    return "".join(f"  .s{number} {{ fill: {colour}; stroke: {colour} }}\n" for number, colour in enumerate(values))


def x_of(ratio):
    low, high = math.log10(RATIO_MIN), math.log10(RATIO_MAX)
    part = (math.log10(min(max(ratio, RATIO_MIN), RATIO_MAX)) - low) / (high - low)
    return round(LABELS + part * (WIDTH - LABELS - RIGHT), 1)


def header(run, subjects, marks):
    lines = [
        '<text class="group" x="12" y="24">Speed against the plain disk: 1 is as fast, further right is faster; a mark on the edge lies beyond it</text>',
        f'<text class="faint" x="12" y="42">{escape(headline(run))}</text>',
    ]
    x = 18
    for number, name in enumerate(subjects):
        lines += [shape(marks[name][0], number, x, 61, ""), f'<text x="{x + 10}" y="65">{escape(name)}</text>']
        x += 32 + 7 * len(name)
    lines += [f'<line class="goal" x1="{x}" x2="{x}" y1="55" y2="67"/>', f'<text x="{x + 10}" y="65">goal</text>']
    return lines


def grid(bottom):
    lines = []
    for ratio in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4):
        x = x_of(ratio)
        lines.append(f'<line class="{"one" if ratio == 1 else "grid"}" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom + 6}"/>')
        for y in (TOP - 6, bottom + 20):
            lines.append(f'<text class="faint" text-anchor="middle" x="{x}" y="{y}">{ratio:g}</text>')
    return lines


def plot_row(name, row, cells, subjects, marks, y):
    lines = [f'<text x="24" y="{y + 4}">{escape(row["title"])}</text>']
    bound = bound_of(name)
    if bound is not None:
        x = x_of(bound)
        lines.append(f'<line class="goal" x1="{x}" x2="{x}" y1="{y - 7}" y2="{y + 7}"><title>goal {bound:g}</title></line>')
    # The first subjects are drawn last: nexus over its peers.
    for number, subject in reversed(list(enumerate(subjects))):
        cell = cells[subject]
        if cell.ratio:
            said = f"{subject}: {cell.ratio:.2f} ({cell.figure()} {row['unit']})"
            lines.append(shape(marks[subject][0], number, x_of(cell.ratio), y, f"<title>{escape(said)}</title>"))
    return lines


def shape(kind, number, x, y, inside):
    attributes = f'class="s{number}"'
    if kind in ("disc", "circle"):
        hollow = ' style="fill: none; stroke-width: 2"' if kind == "circle" else ""
        return f'<circle {attributes}{hollow} cx="{x}" cy="{y}" r="{4.2 if hollow else 5}">{inside}</circle>'
    points = {
        "square": "M-4-4h8v8h-8z",
        "triangle": "M0-5l5 9h-10z",
        "diamond": "M0-5l5 5l-5 5l-5-5z",
        "cross": "M-4-4l8 8M4-4l-8 8",
    }[kind]
    width = ' stroke-width="2.5"' if kind == "cross" else ""
    return f'<path {attributes}{width} transform="translate({x} {y})" d="{points}">{inside}</path>'
