"""What the report says of limits and goals."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.charts import QUIET, WARM, Bar
from jobs.pieces import (
    Panel,
    Section,
    Table,
    amount,
    bar_panel,
    columns,
    count,
    price,
    quantity,
    ratio,
    share,
    tiny,
)

Rows = Sequence[Mapping[str, Any]]
OF_A_DAY = re.compile(r"(.*):day-(\d+)(.*)")  # names of limits that a plan has for each day


def limits(summary: Mapping[str, Any]) -> Section:
    """Return every limit with its use and price; then what is only measured."""
    currency, panels = summary["objective"]["unit"], []
    kept = [c for c in summary["constraints"] if c["kind"] not in {"measured", "cost"}]
    kept = _series(kept)
    for side, title in (("at_most", "Upper limits"), ("at_least", "Minimums")):
        some = [c for c in kept if c[side] is not None]
        cells = [
            [_name(c), _figure(c, c["use"]), _figure(c, c[side]), c["unit"], price(c["price"]),
             c["worth"]]
            for c in some
        ]  # fmt: skip
        used = [ratio(c["use"] or 0.0, c[side]) for c in some]
        drawn = [
            Bar(c["name"], 0, part, share(part), WARM if c["price"] else QUIET)
            for c, part in zip(some, used, strict=True)
        ]
        head = columns("constraint", "#use", "#limit", "unit", f"#price, {currency}", "~worth")
        axis = "use, share of the limit"
        if some:
            table = Table(title, head, cells)
            panels.append(bar_panel(title, drawn, table, axis=axis, number="0%", limit=1.0))
    panels += _measured([c for c in summary["constraints"] if c["kind"] == "measured"])
    text = (
        "A limit that binds has a price: what one more unit of it would be worth. "
        "With room to spare the price is 0. Orange bars have a price; the line is the limit."
    )
    if any(c["kind"] == "soft" for c in kept):
        text += " A soft limit may be passed at its penalty; no price is above that."
    if summary["status"] == "INFEASIBLE":
        text = "Nothing is used, as nothing is allocated. While limits conflict, none has a price."
    return Section("limits", "Limits and their prices", text, panels)


def _series(rows: Rows) -> list[Mapping[str, Any]]:
    """Return limits, of which those that a plan has for each day are one row: their sums.

    The price is the highest, and the worth tells on which days there is one. Ratios stay apart.
    """
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for row in rows:
        named = OF_A_DAY.fullmatch(row["name"]) if row["denominator"] is None else None
        before, day, after = named.groups() if named else (row["name"], "", "")
        found.setdefault(f"{before}{after}", []).append((day, row))
    return [
        own[0][1] if own[0][0] == "" else _joined(name, *zip(*own, strict=True))
        for name, own in found.items()
    ]


def _joined(name: str, days: Sequence[str], rows: Rows) -> Mapping[str, Any]:
    side = "at_most" if rows[0]["at_most"] is not None else "at_least"
    priced = [day for day, row in zip(days, rows, strict=True) if row["price"]]
    worth = f"has a price on day {', '.join(priced)}" if priced else "not binding on any day"
    return {
        **rows[0],
        "name": f"{name} ({len(rows)} days)",
        "use": sum(row["use"] or 0.0 for row in rows),
        side: sum(row[side] for row in rows),
        "price": max((row["price"] for row in rows if row["price"] is not None), default=None),
        "worth": worth if rows[0]["price"] is not None else rows[0]["worth"],
    }


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['name']} (soft)" if row["kind"] == "soft" else row["name"]


def _figure(row: Mapping[str, Any], value: float | None) -> str:
    """Return an amount; of a ratio in four digits, and a dash where nothing is divided by."""
    if row["denominator"] is None or value is None:
        return amount(value)
    return f"{value:,.4g}"


def _measured(rows: Rows) -> list[Panel]:
    """Return the constraints that are not enforced, if there are any."""
    if not rows:
        return []
    title = "Measured, not enforced"
    cells = [
        [c["name"], _figure(c, c["use"]), _figure(c, c["at_least"]), _figure(c, c["at_most"]),
         c["unit"]]
        for c in rows
    ]  # fmt: skip
    head = columns("constraint", "#use", "#at least", "#at most", "unit")
    return [Panel(title, table=Table(title, head, cells))]


def fatigue(summary: Mapping[str, Any]) -> list[Section]:
    """Return what contacts cost in annoyance by channel, if they cost any."""
    if "fatigue" not in summary:
        return []
    found, contacts = summary["fatigue"], {c["channel"]: c for c in summary["channels"]}
    cells, drawn = [], []
    for channel, cost in found["channels"].items():
        count_ = contacts[channel]["contacts"]
        cells.append([channel, count(count_), amount(cost), amount(ratio(cost, count_))])
        drawn.append(Bar(channel, 0, cost, amount(cost)))
    whole = sum(c["contacts"] for c in contacts.values())
    cells.append(["all", count(whole), amount(found["cost"]), amount(ratio(found["cost"], whole))])
    head = columns("channel", "#contacts", f"#cost, {found['unit']}", "#each")
    table = Table("Cost of fatigue by channel", head, cells)
    text = (
        "What contacts cost in annoyance, by the state of who gets them. It is taken off the "
        "objective like money, so that silence is chosen where it is worth more."
    )
    panel = bar_panel("", drawn, table, axis=f"cost of fatigue, {found['unit']}")
    return [Section("fatigue", "What contacts cost in annoyance", text, [panel])]


def goals(summary: Mapping[str, Any]) -> list[Section]:
    """Return what was pursued before the last stage, if anything was."""
    if not summary["stages"]:
        return []
    cells, currency = [], summary["currency"]
    for stage in summary["stages"]:
        objective = stage["objective"]
        unit = objective["unit"]
        sought = objective.get("minimise")
        what = f"least {sought}" if sought else f"most {objective['maximise']}"
        kept = "; ".join(f"{name} {level:,.6g}" for name, level in stage["kept"].items())
        reached, bound, final = (
            quantity(unit, currency, stage[name]) for name in ("value", "bound", "final_value")
        )
        cells.append([stage["name"], what, reached, bound, tiny(stage["gap"]), final, kept or "–"])
    head = columns(
        "stage", "pursues", "#reached", "?bound", "#gap", "#in the end", "~kept from then on"
    )
    title = "Before the last stage"
    text = (
        "Stages in their order: each was pursued within what those before it had reached. "
        "The figures at the head of this page are of the last one."
    )
    table = Table(title, head, cells)
    return [Section("goals", "Goals, one after the other", text, [Panel(title, table=table)])]
