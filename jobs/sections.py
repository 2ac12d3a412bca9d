"""What the report says of an allocation: sections of panels, each a chart with its table."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jobs import charts, contact_sections, limit_sections, plan_sections
from jobs.charts import QUIET, STRONG, WARM, Bar
from jobs.outcome import conflicts
from jobs.pieces import (
    Column,
    Panel,
    Section,
    Table,
    amount,
    bar_panel,
    columns,
    count,
    money,
    quantity,
    ratio,
    share,
    tiny,
)

STEPS = {
    "subscribers": "all subscribers",
    "hold_out": "hold-out",
    "not_eligible": "not eligible",
    "policy": "contact policy",
    "no_offer_worth_its_price": "no worthwhile offer",
    "limits_conflict": "limits in conflict",
    "contacted": "contacted",
}
WHOLE = {"subscribers": QUIET, "contacted": STRONG}  # the funnel's bars that start at 0


def headline(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the figures at the head of the report: name, value and a note each."""
    unit, currency = summary["objective"]["unit"], summary["currency"]
    baseline = [b for b in summary["baselines"] if b["name"] == "greedy"]
    is_answered = _is_answered(summary)
    worth = "expected, net of cost" if is_answered else "nothing is allocated"
    if baseline and baseline[0]["value"] and "minimise" not in summary["objective"]:
        gained = summary["value"] / baseline[0]["value"] - 1
        broken = baseline[0]["violations"]
        which = f", which breaks {broken} limit{'s' if broken > 1 else ''}" if broken else ""
        worth = f"{gained * 100:+.1f} % against greedy{which}"
    if summary["penalties"]:
        worth += f"; {quantity(unit, currency, summary['penalties'])} of penalties are off"
    if "fatigue" in summary and is_answered:
        worth += f"; {money(currency, summary['fatigue']['cost'])} of fatigue are off"
    reached = ratio(summary["contacted"], summary["subscribers"])
    each = ratio(summary["contacts"], summary["contacted"])
    bound_by = f"; bound by {summary['bound_by']}" if is_answered else ""
    is_least, name = "minimise" in summary["objective"], pursued(summary["objective"])
    limited = "allows less" if is_least else "is worth more"
    return [
        {"name": name, "value": quantity(unit, currency, summary["value"]), "note": worth},
        *_beside(summary),
        {
            "name": "Bound",
            "value": quantity(unit, currency, summary["bound"]),
            "note": f"no allocation {limited}" if is_answered else "limits conflict",
        },
        {
            "name": "Gap",
            "value": tiny(summary["gap"]),
            "note": "(bound − value) / bound" if is_answered else "limits conflict",
        },
        {
            "name": "Violations",
            "value": count(summary["violations"]),
            "note": f"of limits and policies{bound_by}",
        },
        {
            "name": "Contacted",
            "value": count(summary["contacted"]),
            "note": f"{share(reached)} of {count(summary['subscribers'])} subscribers",
        },
        {
            "name": "Contacts",
            "value": count(summary["contacts"]),
            "note": f"{each:.2f} a contacted subscriber",
        },
    ]


def pursued(objective: Mapping[str, Any]) -> str:
    """Return what is pursued, as the name of a figure."""
    if objective.get("minimise"):
        return f"Least {objective['minimise']}"
    if objective["maximise"] == "value":
        return "Value"
    return f"Most {objective['maximise']}"


def _beside(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the value where something else is pursued."""
    if pursued(summary["objective"]) == "Value":
        return []
    value = money(summary["currency"], summary["expected_value"])
    return [{"name": "Value", "value": value, "note": "expected, net of cost"}]


def _is_answered(summary: Mapping[str, Any]) -> bool:
    return bool(summary["status"] != "INFEASIBLE")


def outcome(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[Section]:
    """Return the sections about the allocation, or about why there is none."""
    unit = summary["objective"]["unit"]
    funnel, limits = _funnel(summary), limit_sections.limits(summary)
    contacts = contact_sections.contacts(summary)
    goals = limit_sections.goals(summary)
    if not _is_answered(summary):
        return [_conflict(summary), *goals, funnel, *contacts, limits]
    return [
        funnel,
        _who_got_what(summary),
        *plan_sections.plan(summary),
        *contacts,
        *goals,
        limits,
        *limit_sections.fatigue(summary),
        _baselines(summary["baselines"], unit),
        _convergence(summary["iterations"], unit, manifest),
    ]


def _conflict(summary: Mapping[str, Any]) -> Section:
    head = columns("constraint", "#limit", "#smallest relaxation", "~what it means")
    panels = []
    for text, limits in conflicts(summary):
        rows = [
            [c["constraint"], amount(c["limit"]), amount(c["smallest_relaxation"]), c["text"]]
            for c in limits
        ]
        title = text[0].upper() + text[1:]
        panels.append(Panel(title, table=Table(title, head, rows)))
    each = " Each conflict must be resolved." if len(panels) > 1 else ""
    return Section("conflict", "Limits in conflict", f"Nothing is allocated.{each}", panels)


def _funnel(summary: Mapping[str, Any]) -> Section:
    steps = summary["funnel"]
    whole = max((s["subscribers"] for s in steps), default=0)
    rows, left = [], whole
    for step in steps:
        name, n = step["step"], step["subscribers"]
        left -= 0 if name in WHOLE else n
        colour = WHOLE.get(name, WARM)
        start = 0 if name in WHOLE else left
        rows.append(Bar(STEPS.get(name, name), start, start + n, count(n), colour))
    cells = [
        [row.label, row.text, share(ratio(step["subscribers"], whole)), step["text"]]
        for row, step in zip(rows, steps, strict=True)
    ]
    head = columns("step", "#subscribers", "#share", "~reason")
    table = Table("Subscribers by what became of them", head, cells)
    alt = "; ".join(f"{row.label}: {row.text}" for row in rows)
    chart = partial(charts.bars, rows, axis="subscribers")
    text = "Every subscriber ends in exactly one of these: contacted, or left out for a reason."
    panel = Panel(chart=chart, alt=f"Funnel from all subscribers to contacted. {alt}", table=table)
    return Section(
        "funnel",
        "From all subscribers to contacted",
        text,
        [panel, *contact_sections.costs(summary)],
    )


def _who_got_what(summary: Mapping[str, Any]) -> Section:
    currency, panels = summary["currency"], []
    for kind in ("offer", "channel"):
        rows = summary[f"{kind}s"]
        a_day = " a day" if "plan" in summary else ""
        extra = "category" if kind == "offer" else f"#capacity{a_day}"
        head = (
            kind,
            extra,
            "#contacts",
            "#acceptances",
            f"#value, {currency}",
            f"#cost, {currency}",
        )
        cells = [
            [
                r[kind],
                r["category"] if kind == "offer" else count(r["capacity"]),
                count(r["contacts"]),
                amount(r["acceptances"]),
                amount(r["value"]),
                amount(r["cost"]),
            ]
            for r in rows
        ]
        drawn = [Bar(r[kind], 0, r["contacts"], count(r["contacts"])) for r in rows]
        panels.append(bar_panel(f"By {kind}", drawn, Table(f"By {kind}", columns(*head), cells)))
    for column, rows in summary["segments"].items():
        figures = ("#subscribers", "#contacted", "#share", "#contacts", f"#value, {currency}")
        reach = [ratio(r["contacted"], r["subscribers"]) for r in rows]
        cells = [
            [str(r["segment"]), count(r["subscribers"]), count(r["contacted"]), share(part),
             count(r["contacts"]), amount(r["value"])]
            for r, part in zip(rows, reach, strict=True)
        ]  # fmt: skip
        drawn = [Bar(str(r["segment"]), 0, p, share(p)) for r, p in zip(rows, reach, strict=True)]
        table = Table(f"By {column}", (Column(column), *columns(*figures)), cells)
        axis = "share of subscribers contacted"
        panels.append(bar_panel(f"By {column}", drawn, table, axis=axis, number="0%"))
    text = "Acceptances, value and cost are expected: sums over contacts of the propensity."
    return Section("allocation", "Who got what", text, panels)


def _baselines(rows: Sequence[Mapping[str, Any]], unit: str) -> Section:
    drawn = [
        Bar(r["name"], 0, max(r["value"] or 0, 0), amount(r["value"]), STRONG if i == 0 else QUIET)
        for i, r in enumerate(rows)
    ]
    cells = [
        [r["name"], amount(r["value"]), count(r["contacts"]), count(r["violations"]), r["text"]]
        for r in rows
    ]
    head = columns("method", f"#value, {unit}", "#contacts", "#violations", "~what it does")
    table = Table("Value against simpler methods", head, cells)
    panel = bar_panel("", drawn, table, axis=f"value, {unit}")
    return Section(
        "baselines", "Against simpler methods", "On the same scores and limits.", [panel]
    )


def _convergence(
    steps: Sequence[Mapping[str, Any]], unit: str, manifest: Mapping[str, Any]
) -> Section:
    tolerance = manifest["job"].get("solver", {}).get("gap_tolerance")
    drawn = [s for s in steps if s["gap"] is not None and s["gap"] > 0]
    cells = [
        [s["step"], f"{s['seconds']:,.2f}", f"{s['reads']:,.1f}", amount(s["bound"]),
         amount(s["value"]), tiny(s["gap"]), count(s["active"])]
        for s in steps
    ]  # fmt: skip
    head = columns(
        "step", "#seconds", "#reads", f"?bound, {unit}", f"?value, {unit}", "#gap", "#open"
    )
    panel = Panel(table=Table("Steps; open: subscribers not settled yet", head, cells))
    goal = f" The dashed line is the tolerance, {tolerance:.0e}." if tolerance and drawn else ""
    text = f"Zoom: how far the bound may still fall; rounded: the answer.{goal}"
    if drawn:
        first, last = drawn[0], drawn[-1]
        alt = f"The gap falls from {tiny(first['gap'])} to {tiny(last['gap'])} "
        alt += f"in {last['seconds']:.2f} seconds."
        panel = Panel("", "", partial(charts.convergence, drawn, tolerance), alt, panel.table)
    return Section("convergence", "How the gap fell", text, [panel])
