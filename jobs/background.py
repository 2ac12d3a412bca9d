"""What the report says of a run beside its allocation: scores, run times, rejected rows."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jobs import charts
from jobs.charts import Bar
from jobs.pieces import Panel, Section, Table, amount, bar_panel, columns, count, ratio, share

MOST_FEATURES = 20  # of the importance chart; the table has them all


def sections(stages: Mapping[str, Any], seconds: Mapping[str, float]) -> list[Section]:
    """Return the sections about scores, run times and rejected rows, as far as there are any."""
    found = [_scores(stages["score"])] if "score" in stages else []
    drawn = [Bar(name, 0, value, f"{value:,.1f} s") for name, value in seconds.items()]
    whole = sum(seconds.values())
    cells = [[name, f"{v:,.2f}", share(ratio(v, whole))] for name, v in seconds.items()]
    table = Table("Run times", columns("stage", "#seconds", "#share"), cells)
    panels = [bar_panel("", drawn, table, axis="seconds", number="0.[0]")]
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
    panels += _estimates(score.get("fatigue", []))
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
    accepts, purged = score["accepts"], score["purged"]
    shares = [
        [name, count(n), count(accepts[name]), share(ratio(accepts[name], n)),
         count(purged.get(name))]
        for name, n in score["contacts"].items()
    ]  # fmt: skip
    auc = f"{score['auc']:.3f}" if score["auc"] is not None else f"none: {score['auc_note']}"
    text = (
        f"On the test share, the latest contacts: AUC {auc}; Brier score {score['brier']:.4f}, "
        f"against {score['brier_base']:.4f} for the plain accept rate (lower is better). "
        "Purged contacts are in no share: their outcome window reaches into the next."
    )
    head = columns("share, by time", "#contacts", "#accepted", "#accept rate", "#purged")
    bins = score["calibration"]
    cells = [[share(b["predicted"]), share(b["observed"]), count(b["contacts"])] for b in bins]
    table = Table("Ten bins by prediction", columns("predicted", "#observed", "#contacts"), cells)
    alt = "Observed over predicted share: " + "; ".join(f"{c[1]} at {c[0]}" for c in cells)
    ranked = score["importance"]
    drawn = [Bar(i["feature"], 0, i["gain"], share(i["gain"])) for i in ranked[:MOST_FEATURES]]
    gains = [[i["feature"], share(i["gain"])] for i in ranked]
    learnt = Table("All columns the trees use", columns("column", "#share of gain"), gains)
    left_out, kept = (", ".join(score[key]) or "none" for key in ("left_out", "snapshots"))
    known = (
        "Some features are not known as of a past contact, only as the subscriber table is now, "
        f"and may tell what followed. Left out for this: {left_out}. Used all the same: {kept}."
    )
    right = "On the dashed diagonal, predicted and observed shares agree."
    return [
        Panel("Past contacts", text, table=Table("Contacts by share", head, shares)),
        Panel("Calibration", right, partial(charts.calibration, bins), alt, table),
        bar_panel("What the trees use", drawn, learnt, axis="share of all gain", number="0%"),
        Panel("What the trees may not know", known),
    ]


def _estimates(items: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """Return a panel for each item of fatigue that is estimated."""
    panels = []
    for item in items:
        levels = ["below", *(f"from {amount(border)}" for border in item["borders"])]
        cells = [
            [
                told["channel"], count(told["contacts"]), count(told["accepted"]),
                f"{told['slope']:.4f}", f"{told['low']:.4f} to {told['high']:.4f}",
                *(f"{cost:,.4f}" for cost in told["cost"]),
            ]
            for told in item["channels"]
        ]  # fmt: skip
        head = columns(
            "channel", "#contacts", "#accepted", "#slope", "#95 % interval",
            *(f"#cost {level}" for level in levels),
        )  # fmt: skip
        text = (
            "Within strata, log odds of acceptance fall by the slope for each unit of "
            f"{item['of']}; a contact costs what later ones lose by it. "
            f"{count(item['without_state'])} contacts had no state and are left out."
        )
        title = f"Fatigue estimated by {item['of']}"
        panels.append(Panel(title, text, table=Table(title, head, cells)))
    return panels
