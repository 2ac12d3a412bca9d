"""Make the golden job's expected output again: ``python -m tests.golden``; review the diff.

Numbers are rounded to what a reader compares, so that another processor's last bits do not show.
"""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from typer.testing import CliRunner

from jobs.cli import app

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"
DECIMALS = 4


def run(out, *changes):
    """Run the golden job; return its run folder."""
    words = ["run", HERE / "job.yaml", "--out", out, "--quiet", "--json"]
    for change in (f"inputs.folder={HERE / 'inputs'}", *changes):
        words += ["--set", change]
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exit_code:
        raise RuntimeError(f"exit code {result.exit_code}: {result.stderr}")
    return Path(json.loads(result.stdout)["run"])


def rendered(folder):
    """Return the output of a run for review, as text by file name."""
    texts = {
        f"{table}.csv": rounded_csv(pd.read_parquet(folder / table))
        for table in ("allocations", "decisions")
    }
    texts["blocked.csv"] = rounded_csv(pd.read_parquet(folder / "blocked.parquet"))
    for name in ("prices.json", "certificate.json"):
        content = rounded(json.loads((folder / name).read_text()))
        texts[name] = json.dumps(content, indent=1) + "\n"
    return texts


def rounded_csv(table):
    """Return a table as CSV with its numbers rounded."""
    return table.map(rounded).to_csv(index=False, lineterminator="\n")


def rounded(value):
    """Return JSON content with every number rounded, also those within text."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, DECIMALS) + 0.0  # no -0.0
    if isinstance(value, str):
        return re.sub(r"\d+\.\d+(e-?\d+)?", lambda n: f"{float(n[0]):.{DECIMALS - 1}f}", value)
    return value


def main():
    """Write the expected output."""
    EXPECTED.mkdir(exist_ok=True)
    with TemporaryDirectory() as out:
        for name, text in rendered(run(Path(out))).items():
            (EXPECTED / name).write_text(text)


if __name__ == "__main__":
    main()
