"""The features of a job, told without computing any: columns, and the passes that give them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from engine import profile
from engine.errors import ConfigError
from engine.settings import Job
from jobs.check import subscriber_kinds

Told = dict[str, Any]


def features(job: Job) -> Told:
    """Tell what the features of a job are. Of the inputs only the subscriber table is looked at.

    Returns:
        ``features`` as :func:`engine.profile.describe` returns them, and ``plan``: how many
        ``tables`` are read in how many ``passes`` for how many ``quantities`` and ``columns``, and
        ``groups`` as :func:`engine.profile.groups` returns them.

    Raises:
        ConfigError: every problem of the features.
        DataError: every problem of the subscriber table.
    """
    if problems := profile.problems(job, subscriber_kinds(job)):
        raise ConfigError.of(problems)
    described = profile.describe(job)
    plan = {**profile.passes(job), "columns": len(described), "groups": profile.groups(job)}
    return {"features": described, "plan": plan}


def tables(told: Told) -> list[Table | str]:
    """Return the same for the terminal: the columns, a line on snapshots, the plan, its passes."""
    columns, plan = told["features"], told["plan"]
    return [_columns(columns), *_snapshots(columns), summary(plan), *_groups(plan["groups"])]


def summary(plan: Mapping[str, Any]) -> str:
    """Return a line that says how much is read for how much."""
    counted = [
        f"{plan[what]:,} {what if plan[what] != 1 else one}"
        for what, one in (
            ("tables", "table"), ("passes", "pass"), ("quantities", "quantity"),
            ("columns", "column"),
        )
    ]  # fmt: skip
    return "{} in {} for {} and {}".format(*counted)


def _columns(described: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table(title="Features", title_justify="left")
    shown.add_column("column", no_wrap=True)
    for name in ("unit", "formula", "source"):
        shown.add_column(name, overflow="fold")
    for row in described:
        shown.add_row(*(escape(row[name]) for name in ("name", "unit", "formula", "source")))
    return shown


def _snapshots(described: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [row["name"] for row in described if row["snapshot"]]
    what = "known as of now alone, also at past contacts; models leave them out unless listed"
    return [f"{what}: {', '.join(names)}"] if names else []


def _groups(groups: Sequence[Mapping[str, Any]]) -> list[Table]:
    if not groups:
        return []
    shown = Table(title="Passes over the events of a subscriber", title_justify="left")
    for name in ("reads", "windows", "half-lives", "trends"):
        shown.add_column(name, overflow="fold")
    for name in ("quantities", "columns"):
        shown.add_column(name, justify="right", no_wrap=True)
    for one in groups:
        lists = (", ".join(one[name]) for name in ("windows", "half_lives", "trends"))
        counts = (str(one["quantities"]), str(len(one["columns"])))
        shown.add_row(escape(one["source"]), *lists, *counts)
    return [shown]
