"""README is true: its blocks run, and every command, option and exit code is in it."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from engine.settings import parse
from jobs import outcome
from jobs.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
JOB = next(text for kind, text in BLOCKS if kind == "yaml" and text.startswith("name:"))

# What a command needs to be small: the same path through the code, on less data.
SMALL = {
    "walras run job.yaml": "",
    "walras check job.yaml": "",
    "walras score job.yaml": "",
    "walras report": "",
    "walras generate": "--subscribers 300 --days 5",
    "walras run configs/complete_journey.yaml": "--set scores.trees=10",
}


def blocks(kind):
    return [text for found, text in BLOCKS if found == kind]


def commands():
    """Return every command line of the shell blocks, without its comment."""
    lines = (line.partition("#")[0].strip() for text in blocks("sh") for line in text.splitlines())
    return [line for line in lines if line]


def small(line):
    start = next((s for s in SMALL if line.startswith(s)), None)
    assert start is not None, f"say in SMALL how to run {line!r} on little data"
    return f"{line} {SMALL[start]}"


def shell(line, folder):
    program = f'walras() {{ {shlex.quote(sys.executable)} -W error -m jobs "$@"; }}; {line}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-c", program], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Give a folder with the job of README and the project's job files."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "job.yaml").write_text(JOB)
    (folder / "configs").symlink_to(ROOT / "configs")
    return folder


def test_the_shell_blocks_run_in_order(place):
    ran = [line for line in commands() if line.startswith("walras ")]
    assert len(ran) >= 6
    for line in ran:
        result = shell(small(line), place)
        assert result.returncode == 0, f"{line}\n{result.stderr}"
        assert result.stdout


def test_a_change_of_a_budget_reuses_what_it_says(place):
    assert shell("walras run job.yaml --quiet", place).returncode == 0
    result = shell("walras run job.yaml --set constraints.budget.at_most=120", place)
    assert result.returncode == 0, result.stderr
    assert re.findall(r"(\w+): reused", result.stderr) == ["ingest", "profile", "score"]


def test_every_other_line_of_the_shell_blocks_is_a_target_of_make():
    rest = [line for line in commands() if not line.startswith("walras ")]
    assert rest == ["make run", "make test"]
    for line in [*rest, *re.findall(r"`(make \w+)`", README)]:
        subprocess.run([*line.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_the_yaml_blocks_are_settings():
    for text in blocks("yaml"):
        if text == JOB:
            parse(text, "README.md")
            continue
        for line in text.splitlines():
            parse(f"{JOB}\n{line}\n", "README.md")


def test_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = {e for group in re.findall(r"walras\[([\w,-]+)\]", README) for e in group.split(",")}
    assert named == {"cpu", "gpu", "gpu-cu12", "examples"} <= set(extras)


def test_every_command_and_option_is_described():
    command = typer.main.get_command(app)
    for name, found in command.commands.items():
        assert re.search(rf"`(walras )?{name}\b", README), name
        for parameter in found.params:
            for option in parameter.opts:
                assert not option.startswith("--") or f"{option}" in README, (name, option)


def test_every_exit_code_is_described():
    codes = {
        outcome.DONE, outcome.OURS, outcome.WRONG, outcome.INFEASIBLE, outcome.INTERRUPTED
    }  # fmt: skip
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)} == codes


def test_every_job_file_is_described():
    for path in (ROOT / "configs").glob("*.yaml"):
        assert f"configs/{path.name}" in README


def test_the_changes_begin_with_the_version_of_the_project():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"## Changes\n+- {re.escape(version)}: ", README)
