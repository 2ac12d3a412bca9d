"""What the report says: sections of panels, each a chart with its table, from a run's summaries."""

from collections.abc import Mapping, Sequence
from typing import Any

from jobs import charts
from jobs.charts import QUIET, STRONG, WARM, Bar
from jobs.pieces import Panel, Section, Table, amount, columns, count, price, ratio, share, tiny

STEPS = {
    "subscribers": "all subscribers",
    "hold_out": "hold-out",
    "not_eligible": "not eligible",
    "policy": "contact policy",
    "no_offer_worth_its_price": "no worthwhile offer",
    "contacted": "contacted",
}
WHOLE = {"subscribers": QUIET, "contacted": STRONG}  # the funnel's bars that start at 0
MOST_FEATURES = 20  # of the importance chart; the table has them all


def headline(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the figures at the head of the report: name, value and a note each."""
    currency = summary["currency"]
    baseline = [b for b in summary.get("baselines", []) if b["name"] == "greedy"]
    worth = "expected, net of cost"
    if baseline and summary["value"] is not None and baseline[0]["value"]:
        gained = summary["value"] / baseline[0]["value"] - 1
        worth = f"{gained * 100:+.1f} % against greedy"
    reached = ratio(summary["contacted"], summary["subscribers"])
    each = ratio(summary["contacts"], summary["contacted"])
    return [
        {"name": "Value", "value": f"{currency} {amount(summary['value'])}", "note": worth},
        {
            "name": "Bound",
            "value": f"{currency} {amount(summary['bound'])}",
            "note": "no allocation is worth more",
        },
        {"name": "Gap", "value": tiny(summary["gap"]), "note": "(bound − value) / bound"},
        {
            "name": "Violations",
            "value": count(summary["violations"]),
            "note": f"of limits and policies; bound by {summary['bound_by']}",
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


def outcome(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[Section]:
    """Return the sections about the allocation."""
    currency = summary["currency"]
    return [
        *([_conflict(summary)] if summary.get("conflict") else []),
        _funnel(summary["funnel"]),
        _who_got_what(summary),
        _limits(summary["constraints"], currency),
        _baselines(summary["baselines"], currency),
        _convergence(summary["iterations"], currency, manifest),
    ]


def _conflict(summary: Mapping[str, Any]) -> Section:
    rows = [
        [c["constraint"], amount(c["limit"]), amount(c["smallest_relaxation"]), c["text"]]
        for c in summary["conflict"]
    ]
    head = columns("constraint", "#limit", "#smallest relaxation", "~what it means")
    text = "No allocation keeps all of these limits together; what would make room for one:"
    table = Table("Constraints in conflict", head, rows)
    return Section("conflict", "Limits in conflict", text, [Panel(table=table)])


def _funnel(steps: Sequence[Mapping[str, Any]]) -> Section:
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
    chart = charts.bars(rows, axis="subscribers")
    text = "Every subscriber ends in exactly one of these: contacted, or left out for a reason."
    panel = Panel(chart=chart, alt=f"Funnel from all subscribers to contacted. {alt}", table=table)
    return Section("funnel", "From all subscribers to contacted", text, [panel])


def _who_got_what(summary: Mapping[str, Any]) -> Section:
    currency, panels = summary["currency"], []
    for kind in ("offer", "channel"):
        rows = summary[f"{kind}s"]
        extra = "category" if kind == "offer" else "#capacity"
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
        panels.append(_panel(f"By {kind}", drawn, Table(f"By {kind}", columns(*head), cells)))
    for column, rows in summary["segments"].items():
        head = (column, "#subscribers", "#contacted", "#share", "#contacts", f"#value, {currency}")
        reach = [ratio(r["contacted"], r["subscribers"]) for r in rows]
        cells = [
            [str(r["segment"]), count(r["subscribers"]), count(r["contacted"]), share(part),
             count(r["contacts"]), amount(r["value"])]
            for r, part in zip(rows, reach, strict=True)
        ]  # fmt: skip
        drawn = [Bar(str(r["segment"]), 0, p, share(p)) for r, p in zip(rows, reach, strict=True)]
        table = Table(f"By {column}", columns(*head), cells)
        axis = "share of subscribers contacted"
        panels.append(_panel(f"By {column}", drawn, table, axis=axis, number="0%"))
    text = "Acceptances, value and cost are expected: sums over contacts of the propensity."
    return Section("allocation", "Who got what", text, panels)


def _panel(
    title: str, rows: list[Bar], table: Table, *, axis: str = "contacts", **options: Any
) -> Panel:
    if not rows:
        return Panel(title, "There are none.")
    alt = f"{title}, {axis}: " + "; ".join(f"{row.label} {row.text}" for row in rows)
    return Panel(title, chart=charts.bars(rows, axis=axis, **options), alt=alt, table=table)


def _limits(constraints: Sequence[Mapping[str, Any]], currency: str) -> Section:
    panels = []
    for side, title in (("at_most", "Upper limits"), ("at_least", "Minimums")):
        some = [c for c in constraints if c[side] is not None]
        cells = [
            [c["name"], amount(c["use"]), amount(c[side]), c["unit"], price(c["price"]), c["worth"]]
            for c in some
        ]
        used = [ratio(c["use"], c[side]) for c in some]
        drawn = [
            Bar(c["name"], 0, part, share(part), WARM if c["price"] else QUIET)
            for c, part in zip(some, used, strict=True)
        ]
        head = columns("constraint", "#use", "#limit", "unit", f"#price, {currency}", "~worth")
        axis = "use, share of the limit"
        if some:
            table = Table(title, head, cells)
            panels.append(_panel(title, drawn, table, axis=axis, number="0%", limit=1.0))
    text = (
        "A limit that binds has a price: what one more unit of it would be worth. "
        "With room to spare the price is 0. Orange bars have a price; the line is the limit."
    )
    return Section("limits", "Limits and their prices", text, panels)


def _baselines(rows: Sequence[Mapping[str, Any]], currency: str) -> Section:
    drawn = [
        Bar(r["name"], 0, max(r["value"] or 0, 0), amount(r["value"]), STRONG if i == 0 else QUIET)
        for i, r in enumerate(rows)
    ]
    cells = [
        [r["name"], amount(r["value"]), count(r["contacts"]), count(r["violations"]), r["text"]]
        for r in rows
    ]
    head = columns("method", f"#value, {currency}", "#contacts", "#violations", "~what it does")
    table = Table("Value against simpler methods", head, cells)
    panel = _panel("", drawn, table, axis=f"value, {currency}")
    return Section(
        "baselines", "Against simpler methods", "On the same scores and limits.", [panel]
    )


def _convergence(
    steps: Sequence[Mapping[str, Any]], currency: str, manifest: Mapping[str, Any]
) -> Section:
    tolerance = manifest["job"].get("solver", {}).get("gap_tolerance")
    drawn = [s for s in steps if s["gap"] is not None and s["gap"] > 0]
    cells = [
        [s["step"], f"{s['seconds']:,.2f}", f"{s['reads']:,.1f}", amount(s["bound"]),
         amount(s["value"]), tiny(s["gap"]), count(s["active"])]
        for s in steps
    ]  # fmt: skip
    head = columns(
        "step", "#seconds", "#reads", f"?bound, {currency}", f"?value, {currency}", "#gap", "#open"
    )
    panel = Panel(table=Table("Steps; open: subscribers not settled yet", head, cells))
    goal = f" The dashed line is the tolerance, {tolerance:.0e}." if tolerance and drawn else ""
    text = f"Zoom: how far the bound may still fall; rounded: the answer.{goal}"
    if drawn:
        first, last = drawn[0], drawn[-1]
        alt = f"The gap falls from {tiny(first['gap'])} to {tiny(last['gap'])} "
        alt += f"in {last['seconds']:.2f} seconds."
        panel = Panel("", "", charts.convergence(drawn, tolerance), alt, panel.table)
    return Section("convergence", "How the gap fell", text, [panel])


def background(stages: Mapping[str, Any], seconds: Mapping[str, float]) -> list[Section]:
    """Return the sections about scores, run times and rejected rows."""
    found = [_scores(stages["score"])] if "score" in stages else []
    drawn = [Bar(name, 0, value, f"{value:,.1f} s") for name, value in seconds.items()]
    whole = sum(seconds.values())
    cells = [[name, f"{v:,.2f}", share(ratio(v, whole))] for name, v in seconds.items()]
    table = Table("Run times", columns("stage", "#seconds", "#share"), cells)
    panels = [_panel("", drawn, table, axis="seconds", number="0.[0]")]
    found.append(Section("times", "Run times", f"{whole:,.1f} seconds in all.", panels))
    if "ingest" in stages:
        found.append(_ingest(stages["ingest"]["tables"]))
    return found


def _ingest(tables: Mapping[str, Mapping[str, Any]]) -> Section:
    cells = []
    for name, table in tables.items():
        why = "; ".join(f"{reason}: {count(n)}" for reason, n in sorted(table["rejected"].items()))
        rejected = sum(table["rejected"].values())
        cells.append(
            [name, count(table["rows"]), count(table["kept"]), count(table["future"]),
             count(rejected), share(ratio(rejected, table["rows"])), why or "–"]
        )  # fmt: skip
    head = columns(
        "table", "#rows read", "#kept", "?after as-of", "#rejected", "#share", "~reasons"
    )
    text = "Rows that break a table's schema are set aside, each with its reason."
    panel = Panel(table=Table("Input rows", head, cells))
    return Section("inputs", "Input rows and rejects", text, [panel])


def _scores(score: Mapping[str, Any]) -> Section:
    panels = _model_panels(score) if score["kind"] == "model" else []
    panels.append(Panel("Mean propensities", table=_means(score["actions"])))
    kinds = {
        "model": "Propensities are from gradient-boosted trees, trained on past contacts.",
        "formula": "Propensities are from the job's formulas.",
        "columns": "Propensities are columns of the subscriber table or features.",
    }
    return Section("scores", "Score quality", kinds[score["kind"]], panels)


def _means(actions: Sequence[Mapping[str, Any]]) -> Table:
    """Return mean propensities with a row per offer and a column per channel."""
    mean = {tuple(a["action"].split("@")): a["mean"] for a in actions}
    offers, channels = (list(dict.fromkeys(names)) for names in zip(*mean, strict=True))
    cells = [[o, *(share(mean.get((o, channel))) for channel in channels)] for o in offers]
    head = columns("offer", *(f"#{channel}" for channel in channels))
    return Table("Mean propensity of each offer on each channel", head, cells)


def _model_panels(score: Mapping[str, Any]) -> list[Panel]:
    shares = [
        [name, count(n), count(score["accepts"][name]), share(ratio(score["accepts"][name], n))]
        for name, n in score["contacts"].items()
    ]
    auc = f"{score['auc']:.3f}" if score["auc"] is not None else f"none: {score['auc_note']}"
    text = (
        f"On the test share, the latest contacts: AUC {auc}; Brier score {score['brier']:.4f}, "
        f"against {score['brier_base']:.4f} for the plain accept rate (lower is better)."
    )
    head = columns("share, by time", "#contacts", "#accepted", "#accept rate")
    bins = score["calibration"]
    cells = [[share(b["predicted"]), share(b["observed"]), count(b["contacts"])] for b in bins]
    table = Table("Ten bins by prediction", columns("predicted", "#observed", "#contacts"), cells)
    alt = "Observed over predicted share: " + "; ".join(f"{c[1]} at {c[0]}" for c in cells)
    ranked = score["importance"]
    drawn = [Bar(i["feature"], 0, i["gain"], share(i["gain"])) for i in ranked[:MOST_FEATURES]]
    gains = [[i["feature"], share(i["gain"])] for i in ranked]
    learnt = Table("All columns the trees use", columns("column", "#share of gain"), gains)
    right = "On the dashed diagonal, predicted and observed shares agree."
    return [
        Panel("Past contacts", text, table=Table("Contacts by share", head, shares)),
        Panel("Calibration", right, charts.calibration(bins), alt, table),
        _panel("What the trees use", drawn, learnt, axis="share of all gain", number="0%"),
    ]
