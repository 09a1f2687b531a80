"""cargo builds a workspace of generated crates that need nothing from a network.

Sources and target directory lie on the subject; the toolchain lies where it always lies. What was built is run, and must
print what its source says.
"""

import os
import shutil
import subprocess

from processes import Failed

FUNCTIONS_PER_MODULE = 12

# Settings of this build, or of the user, that would make it another build.
FOREIGN = (
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_INCREMENTAL",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
)


def measure(turn):
    workspace = turn.directory / "workspace"
    modules = turn.bench.sizes.modules
    total = write_workspace(workspace, modules)
    environment = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    environment["CARGO_NET_OFFLINE"] = "true"
    command = ["cargo", "build", "--quiet", "--offline"]

    seconds = turn.seconds(command, "build", env=environment, cwd=workspace)
    expect_output(turn, workspace, total)
    turn.record("build", 1, seconds)
    if turn.wanted("rebuild"):
        total += write_module(workspace / "parts1" / "src" / "module0.rs", 0, turn.seed + 1) - module_total(0, 0)
        seconds = turn.seconds(command, "rebuild", env=environment, cwd=workspace)
        expect_output(turn, workspace, total)
        turn.record("rebuild", 1, seconds)
    if turn.wanted("nothing"):
        built = (workspace / "target" / "debug" / "total").stat().st_mtime_ns
        seconds = turn.seconds(command, "nothing", env=environment, cwd=workspace)
        if (workspace / "target" / "debug" / "total").stat().st_mtime_ns != built:
            raise Failed("cargo build: it built again what was not changed")
        turn.record("nothing", 1, seconds)


def write_workspace(workspace, modules):
    """Two libraries of so many modules and a program that adds up what they return; returns the sum."""
    total = 0
    for crate in ("parts1", "parts2"):
        source = workspace / crate / "src"
        source.mkdir(parents=True)
        (workspace / crate / "Cargo.toml").write_text(manifest(crate, ""))
        names = [f"module{number}" for number in range(modules)]
        calls = " + ".join(f"{name}::total()" for name in names)
        uses = "".join(f"pub mod {name};\n" for name in names)
        (source / "lib.rs").write_text(f"{uses}\npub fn total() -> u64 {{\n    {calls}\n}}\n")
        for number, name in enumerate(names):
            total += write_module(source / f"{name}.rs", number, 0)
    (workspace / "total" / "src").mkdir(parents=True)
    needs = '[dependencies]\nparts1 = { path = "../parts1" }\nparts2 = { path = "../parts2" }\n'
    (workspace / "total" / "Cargo.toml").write_text(manifest("total", needs))
    main = 'fn main() {\n    println!("{}", parts1::total() + parts2::total());\n}\n'
    (workspace / "total" / "src" / "main.rs").write_text(main)
    (workspace / "Cargo.toml").write_text('[workspace]\nmembers = ["parts1", "parts2", "total"]\nresolver = "2"\n')
    return total


def manifest(name, dependencies):
    return f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2021"\n\n{dependencies}'


def module_total(number, life):
    return sum(number * 100 + index + life for index in range(FUNCTIONS_PER_MODULE))


def write_module(path, number, life):
    """Types, traits and collections, so that the compiler has its usual work; returns what `total` returns."""
    lines = ["use std::collections::BTreeMap;", ""]
    for index in range(FUNCTIONS_PER_MODULE):
        lines += [
            f"/// Part {index} of module {number}.",
            "#[derive(Clone, Debug, PartialEq)]",
            f"pub struct Part{index} {{",
            "    pub name: String,",
            "    pub values: BTreeMap<String, u64>,",
            "}",
            "",
            f"impl Part{index} {{",
            "    pub fn new() -> Self {",
            f'        let values = (0..1u64).map(|key| (format!("key{{key}}"), {number * 100 + index + life})).collect();',
            f'        Self {{ name: "part{index}".to_string(), values }}',
            "    }",
            "",
            "    pub fn total(&self) -> u64 {",
            "        self.values.iter().filter(|(key, _)| key.starts_with(\"key\")).map(|(_, value)| value).sum()",
            "    }",
            "}",
            "",
        ]
    calls = " + ".join(f"Part{index}::new().total()" for index in range(FUNCTIONS_PER_MODULE))
    lines += ["pub fn total() -> u64 {", f"    {calls}", "}", ""]
    path.write_text("\n".join(lines))
    return module_total(number, life)


def expect_output(turn, workspace, total):
    # Run from the plain disk: a subject that keeps no modes has built the right bytes nevertheless.
    program = turn.beside / "total"
    shutil.copyfile(workspace / "target" / "debug" / "total", program)
    program.chmod(0o755)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=60)
    if done.stdout.strip() != str(total):
        raise Failed(f"cargo build: the program printed {done.stdout.strip()!r} instead of {total}")
