"""What the report says of a plan of several days: what goes out on each."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jobs import charts
from jobs.charts import EMPTY, QUIET, STRONG, Piece
from jobs.pieces import Panel, Section, Table, amount, bar_panel, columns, count, ratio, share

Rows = Sequence[Mapping[str, Any]]


def plan(summary: Mapping[str, Any]) -> list[Section]:
    """Return contacts day by day and against capacities, of a plan of several days."""
    if "plan" not in summary:
        return []
    days, currency = summary["plan"], summary["currency"]
    cells = [
        [str(d["day"]), count(d["contacts"]), amount(d["acceptances"]), amount(d["value"]),
         amount(d["cost"])]
        for d in days
    ]  # fmt: skip
    head = ("day", "#contacts", "#acceptances", f"#value, {currency}", f"#cost, {currency}")
    drawn = [charts.Bar(f"day {d['day']}", 0, d["contacts"], count(d["contacts"])) for d in days]
    panel = bar_panel("By day", drawn, Table("By day", columns(*head), cells))
    text = (
        f"The plan has {len(days)} days; on each, contacts go out at the same time of day, in the "
        "time zone of the subscriber. An offer goes out once at most."
    )
    return [Section("plan", "Day by day", text, [panel, _capacities(days, summary["channels"])])]


def _capacities(days: Rows, channels: Rows) -> Panel:
    """Return the use of each channel on each day: a row a channel, the fuller the darker."""
    most = max((n for d in days for n in d["channels"].values()), default=0)
    rows = []
    for row in channels:
        name, room = row["channel"], row["capacity"]
        own = [d["channels"][name] for d in days]
        rows.append((name, [_cell(n, room, most) for n in own]))
    head = columns("channel", "#capacity a day", *(f"#{d['day']}" for d in days))
    cells = [
        [
            row["channel"],
            count(row["capacity"]),
            *(count(d["channels"][row["channel"]]) for d in days),
        ]
        for row in channels
    ]
    title = "Contacts by channel and day"
    full = "; ".join(
        f"{name}: {sum(cell.colour == STRONG for cell in own)} days full" for name, own in rows
    )
    text = "The fuller a day of a channel is, the darker; without a capacity, the busier."
    chart = partial(charts.grid, rows, axis="day", columns=[str(d["day"]) for d in days])
    return Panel(title, text, chart, f"{title}. {full}", Table(title, head, cells))


def _cell(contacts: int, capacity: int | None, most: int) -> Piece:
    part = min(1.0, ratio(contacts, most if capacity is None else capacity))
    of = "" if capacity is None else f" of {count(capacity)} ({share(part)})"
    colour = charts.shade(QUIET, STRONG, part) if contacts else EMPTY
    return Piece(0, 1, colour, f"{count(contacts)} contacts{of}")
