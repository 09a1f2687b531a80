"""From what perf recorded to a flame graph and tables.

The picture is drawn by inferno, a program on crates.io; `tools` builds it once, into a directory of its own.
"""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from processes import Failed, last_words, run

TOOL_SECONDS_MAX = 1800
ROWS_MAX = 25


def tools(directory, log):
    """The directory that holds inferno's programs, built when they are missing."""
    found = shutil.which("inferno-flamegraph")
    if found:
        return Path(found).parent
    if not (directory / "bin" / "inferno-flamegraph").exists():
        run(["cargo", "install", "--quiet", "--locked", "inferno", "--root", directory], log, TOOL_SECONDS_MAX)
    return directory / "bin"


def fold(data, inferno, inline, log):
    """One line for each stack: its frames from the root, separated by semicolons, and its time on a processor in ns."""
    script = ["perf", "script", "--input", str(data), *([] if inline else ["--no-inline"])]
    with open(log, "ab") as said:
        first = subprocess.Popen(script, stdout=subprocess.PIPE, stderr=said)
        folded = subprocess.run([inferno / "inferno-collapse-perf"], stdin=first.stdout, stdout=subprocess.PIPE, stderr=said)
        first.stdout.close()
        if first.wait() != 0 or folded.returncode != 0:
            raise Failed(f"perf script and inferno-collapse-perf: {last_words(log)}")
    return folded.stdout


def draw(folded, inferno, title, subtitle, path):
    """Write the flame graph."""
    command = [inferno / "inferno-flamegraph", "--title", title, "--subtitle", subtitle, "--hash", "--countname", "ns"]
    done = subprocess.run(command, input=folded, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise Failed(f"inferno-flamegraph: {done.stderr.decode(errors='replace').strip()}")
    path.write_bytes(done.stdout)


def top_symbols(folded):
    """Where the time on processors went, and under what: a table of both shares."""
    own, within, total = Counter(), Counter(), 0
    for line in folded.decode(errors="replace").splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [short(frame) for frame in stack.split(";")[1:]]
        total += int(count)
        if frames:
            own[frames[-1]] += int(count)
            within.update({frame: int(count) for frame in set(frames)})
    if not total:
        return ["no samples: the daemon was not running on a processor"]
    lines = [f"{'self':>7}{'with callees':>14}  symbol, of {total / 1e9:.2f} s on processors"]
    for name, count in own.most_common(ROWS_MAX):
        lines.append(f"{count / total:>7.1%}{within[name] / total:>14.1%}  {name}")
    lines += ["", f"{'self':>7}{'with callees':>14}  functions of nexus, by the time in all they call"]
    inside = [(name, count) for name, count in within.most_common() if name.startswith(("nexus::", "<nexus::"))]
    for name, count in inside[:ROWS_MAX]:
        lines.append(f"{own[name] / total:>7.1%}{count / total:>14.1%}  {name}")
    return lines


def short(frame):
    """Without the hash that Rust appends, and not longer than a line."""
    frame = re.sub(r"::h[0-9a-f]{16}$", "", frame)
    return frame if len(frame) <= 110 else frame[:107] + "..."


def system_calls(data, operations):
    """What the daemon asked of the kernel: calls, calls for each operation, errors, time inside.

    perf trace prints such a table for each thread; here they are added up.
    """
    done = subprocess.run(["perf", "trace", "--input", str(data), "--summary"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"perf trace: {done.stderr.strip()[-300:]}")
    table = {}
    for line in (done.stdout + done.stderr).splitlines():
        words = line.split()
        # syscall, calls, errors, total in ms, and four more figures
        if len(words) == 8 and words[1].isdigit() and words[2].isdigit():
            calls, errors, total_ms = table.get(words[0], (0, 0, 0.0))
            table[words[0]] = (calls + int(words[1]), errors + int(words[2]), total_ms + float(words[3]))
    lines = [f"{'calls':>10}{'per op':>9}{'errors':>9}{'inside ms':>12}{'each us':>10}  system call"]
    for name, (calls, errors, total_ms) in sorted(table.items(), key=lambda entry: -entry[1][0])[:ROWS_MAX]:
        each = f"{total_ms * 1000 / calls:.1f}"
        lines.append(f"{calls:>10,}{calls / operations:>9.2f}{errors:>9,}{total_ms:>12.1f}{each:>10}  {name}")
    return lines if table else ["no system calls: the kernel served everything"]
