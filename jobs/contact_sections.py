"""What the report says of contact policies: what each costs, and how often contacts are made."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from jobs import charts
from jobs.charts import QUIET, STRONG, WARM, Bar, Piece
from jobs.pieces import Panel, Section, Table, amount, bar_panel, columns, count, ratio, share

Rows = Sequence[Mapping[str, Any]]
KEYS = ("past", "planned")
MOST_GROUPS = 12  # of a cap that are drawn; the table has all


def costs(summary: Mapping[str, Any]) -> list[Panel]:
    """Return what each policy costs, if there are any."""
    rows, unit = summary["policies"], summary["objective"]["unit"]
    if not rows:
        return []
    cells = [
        [r["policy"], r["relaxed"], count(r["subscribers"]), count(r["pairs"]), count(r["alone"]),
         amount(r["gain"])]
        for r in rows
    ]  # fmt: skip
    head = columns("policy", "relaxed", "#stopped", "?pairs", "#it alone", f"#worth, {unit}")
    title = "What each contact policy costs"
    text = (
        "Stopped: subscribers of whom it blocks a pair, or to whom relaxing it is worth something. "
        "Pairs (a subscriber, an offer and a channel) that it blocks, and that it alone blocks. "
        "Worth: what subscribers would gain at the prices if the policy alone were relaxed by one "
        "contact, or left out. By weak duality no allocation within all limits is then worth more "
        "than the bound plus this."
    )
    drawn = [
        Bar(r["policy"], 0, r["gain"] or 0, amount(r["gain"]), WARM if r["gain"] else QUIET)
        for r in rows
    ]
    panel = bar_panel(title, drawn, Table(title, head, cells), axis=f"worth, {unit}")
    return [Panel(title, text, panel.chart, panel.alt, panel.table)]


def contacts(summary: Mapping[str, Any]) -> list[Section]:
    """Return contacts by day and against each cap, if there are any."""
    told = summary["contact_history"]
    panels = []
    if told["days"]:
        panels.append(_by_day(told["days"]))
    panels += [_against(name, list(own)) for name, own in
               groupby(told["caps"], key=lambda row: row["policy"])]  # fmt: skip
    if not panels:
        return []
    text = (
        "Contacts of the history, those booked for later too, and those of this run. A window is "
        "the fullest that holds a contact of this run; exempt offers count too. The more contacts "
        "a subscriber has in it, the darker; orange is beyond the cap."
    )
    if any(row["over"] == "household" for row in told["caps"]):
        text += (
            " A cap over households counts households, by the contacts of all members; who is "
            "alone is one too."
        )
    return [Section("contacts", "Contacts by day and against the caps", text, panels)]


def _by_day(days: Rows) -> Panel:
    title = "Contacts a day"
    weeks = [days[max(0, end - 7) : end] for end in range(len(days), 0, -7)][::-1]
    cells = [
        [f"{own[0]['day']} to {own[-1]['day']}", *(count(sum(d[key] for d in own)) for key in KEYS)]
        for own in weeks
    ]
    table = Table("Contacts, seven days at a time", columns("days", "#history", "#this run"), cells)
    past, planned = (sum(d[key] for d in days) for key in KEYS)
    alt = f"{title} from {days[0]['day']} to {days[-1]['day']}: {count(past)} of the history, "
    alt += f"{count(planned)} of this run."
    return Panel(title, "", partial(charts.days, days), alt, table)


def _against(name: str, groups: Rows) -> Panel:
    """Return how many subscribers, or households, have 0, 1, 2 ... contacts in a cap's window."""
    cap, whose = groups[0]["cap"], f"{groups[0]['over']}s"
    cells: list[list[str]] = []
    rows: list[tuple[str, list[Piece]]] = []
    for row in groups:
        for when, alone in (("before", "before"), ("after", "after this run")):
            numbers = row[when]
            every, beyond = sum(numbers), sum(numbers[cap + 1 :])
            if when == "before" and not any(numbers[1:]):
                continue
            name_of_row = alone if row["group"] == "all" else f"{row['group']} {when}"
            cells.append([
                name_of_row, count(sum(numbers[:cap])), count(sum(numbers[cap : cap + 1])),
                count(beyond), "; ".join(f"{n}: {count(x)}" for n, x in enumerate(numbers) if x),
            ])  # fmt: skip
            if len(rows) < 2 * MOST_GROUPS:
                rows.append((name_of_row, _pieces(numbers, cap, every)))
    head = columns("contacts", "#below the cap", "#at it", "#beyond it", f"~{whose} by contacts")
    title = f"{name}: at most {cap}{' a household' if whose == 'households' else ''}"
    alt = f"{title}. " + "; ".join(f"{c[0]}: {c[1]} below, {c[2]} at, {c[3]} beyond" for c in cells)
    chart = partial(charts.stacks, rows, axis=f"share of {whose}")
    return Panel(title, "", chart, alt, Table(title, head, cells))


def _pieces(numbers: Sequence[int], cap: int, every: int) -> list[Piece]:
    """Return a piece for each number of contacts: the nearer to the cap, the darker."""
    found, left = [], 0
    for n, subscribers in enumerate(numbers):
        colour = WARM if n > cap else charts.shade(QUIET, STRONG, ratio(n, cap) if cap else 1.0)
        colour = charts.EMPTY if n == 0 else colour
        begin, end = ratio(left, every), ratio(left + subscribers, every)
        text = f"{n} contact{'' if n == 1 else 's'}: {count(subscribers)} ({share(end - begin)})"
        left += subscribers
        if subscribers:
            found.append(Piece(begin, end, colour, text))
    return found
