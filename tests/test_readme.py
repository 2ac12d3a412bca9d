"""README is true: its blocks run, and every command, option and exit code is in it."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import typer
from typer.testing import CliRunner

from engine.settings import parse
from engine.settings.policies import KINDS
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
    "walras features job.yaml": "",
    "walras score job.yaml": "",
    "walras report": "",
    "walras generate": "--subscribers 300 --days 5",
    "walras ledger": "",
    "walras outcomes": "",
    "walras commit": "",
    "walras cancel": "",
    "walras run configs/complete_journey.yaml": "--set scores.trees=10",
}


def blocks(kind):
    return [text for found, text in BLOCKS if found == kind]


def commands():
    """Return every command line of the shell blocks, without its comment."""
    lines = (line.partition("#")[0].strip() for text in blocks("sh") for line in text.splitlines())
    return [line for line in lines if line]


def run(line):
    """Run a command line of README on little data, in the current folder."""
    start = next((s for s in SMALL if line.startswith(s)), None)
    assert start is not None, f"say in SMALL how to run {line!r} on little data"
    words = shlex.split(f"{line} {SMALL[start]}")[1:]
    return CliRunner().invoke(
        app, [str(name) for word in words for name in [*Path().glob(word)] or [word]]
    )


def test_the_shell_blocks_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(JOB.replace("days: 60", "days: 40"))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    ran = {line: run(line) for line in commands() if line.startswith("walras ")}
    assert len(ran) >= 6
    for line, result in ran.items():
        assert result.exit_code == 0, f"{line}\n{result.stderr}"
        assert result.stdout
        reused = re.findall(r"(\w+): reused", result.stderr)
        assert reused == (["ingest", "profile", "score"] if "budget.at_most" in line else [])


def test_the_python_blocks_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(JOB)
    assert run("walras score job.yaml").exit_code == 0
    assert len(blocks("python")) == 1
    for text in blocks("python"):
        exec(text, {})
    said = capsys.readouterr().out
    assert "OPTIMAL" in said and "surplus" in said and "budget" in said


def test_every_other_line_of_the_shell_blocks_is_a_target_of_make():
    rest = [line for line in commands() if not line.startswith("walras ")]
    assert rest == ["make run", "make test"]
    for line in [*rest, *re.findall(r"`(make \w+)`", README)]:
        subprocess.run([*line.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_make_has_python_keep_bytecode():
    """Else each of the many processes of the tests compiles all packages anew."""
    rule = 'said: ; @echo "[$$PYTHONDONTWRITEBYTECODE]"'
    told = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["make", "--silent", f"--eval={rule}", "said"],
        cwd=ROOT, env=told, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_the_yaml_blocks_are_settings(monkeypatch):
    monkeypatch.chdir(ROOT)
    for text in blocks("yaml"):
        if text == JOB:
            parse(text, "README.md")
            continue
        for line in text.splitlines():
            setting, _, value = line.partition(": ")
            parse(JOB, "README.md", [f"{setting}={value}"])


def test_the_policies_of_the_table_are_settings():
    """All but those that do not go with caps over households in one job, and those caps."""
    policies = re.findall(r"^\| `({name: .*?})` \|", README, re.MULTILINE)
    assert len(policies) == 17
    head, _, rest = JOB.partition("policies:")
    rest = rest[rest.index("constraints:") :]
    more = "inputs.outcomes={path: o, categories: [offer, channel, outcome]}"
    changes = [more, "inputs.subscribers.household=home"]
    changes += [f"catalogue.offers.{o}.purpose=service" for o in ("apology", "data_boost")]
    parts = (
        [text for text in policies if "over: household" not in text],
        [text for text in policies if not re.search("exactly|at_least|requires", text)],
    )
    read = [
        policy
        for own in parts
        for policy in parse(f"{head}policies: [{', '.join(own)}]\n{rest}", "x", changes).policies
    ]
    kinds = {kind for policy in read for kind in KINDS if getattr(policy, kind)}
    assert kinds == set(KINDS) and len({policy.name for policy in read}) == len(policies)


def test_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = {e for group in re.findall(r"walras\[([\w,-]+)\]", README) for e in group.split(",")}
    assert named == {"cpu", "gpu", "gpu-cu12", "examples"} <= set(extras)


def test_every_command_and_option_is_described():
    commands = dict(typer.main.get_command(app).commands)
    commands |= commands.pop("ledger").commands
    assert {"run", "commit", "verify", "erase"} <= set(commands)
    for name, found in commands.items():
        assert re.search(rf"`(walras )?(ledger )?{name}\b", README), name
        for parameter in found.params:
            for option in parameter.opts:
                assert not option.startswith("--") or f"{option}" in README, (name, option)


def test_every_exit_code_is_described():
    codes = {
        outcome.DONE, outcome.OURS, outcome.WRONG, outcome.INFEASIBLE, outcome.UNDECIDED,
        outcome.REFUSED, outcome.INTERRUPTED, outcome.UNREAD,
    }  # fmt: skip
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)} == codes


def test_every_job_file_is_described():
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert path.relative_to(ROOT).as_posix() in README


def test_the_changes_begin_with_the_version_of_the_project():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"## Changes\n+- {re.escape(version)}: ", README)
