"""Fatigue in a bank's phone campaign, and what an allocation makes of its cost.

``python -m benchmarks.fatigue uci_bank_additional.parquet``: Moro, Cortez and Rita, "A Data-Driven
Approach to Predict the Success of Bank Telemarketing", Decision Support Systems 62, 2014. A row is
a client: how often it was called, and whether it took the deposit in the end. So each call but the
last has failed, and success of the k-th is that of clients who got a k-th. Strata: channel, month
and the outcome of the campaign before. The value of a success and what a call costs are ours.

The next call of every client is then allocated: by value alone, by value less fatigue, and by value
under a hard cap on the calls before, at every level. All are judged by the fitted curve.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from engine.actions import actions
from engine.assemble import assemble
from engine.candidates import candidates
from engine.fatigue_fit import fit, item
from engine.history import History
from engine.settings import parse
from engine.settings.job import Solver
from engine.solve import solve

SHOWN = 10  # calls that are told one by one, and levels of the state
COLUMNS = ["contact", "month", "poutcome", "campaign", "y"]


def calls_of(clients):
    """Return every call as a row: client, state (calls before), success, channel, stratum."""
    times = clients["campaign"].to_numpy(np.int64)
    client = np.repeat(np.arange(len(clients)), times)
    state = np.arange(len(client)) - np.repeat(times.cumsum() - times, times)
    success = (clients["y"] == "yes").to_numpy()[client] & (state == times[client] - 1)
    stratum = (clients["poutcome"] + " " + clients["month"]).to_numpy()[client]
    channel = clients["contact"].to_numpy()[client]
    return pd.DataFrame({"client": client, "state": state.astype(float), "success": success,
                         "channel": channel, "stratum": stratum})  # fmt: skip


def fitted(stratum, channel, state, curves):
    """Return the success of calls, by channel and stratum where these tell of it, else 0."""
    out = np.zeros(len(state), np.float32)
    for name, curve in curves.items():
        level = stratum.map(dict(zip(curve.stratum, curve.intercept, strict=True)))
        own = (channel == name).to_numpy() & level.notna().to_numpy()
        out[own] = 1 / (1 + np.exp(curve.slope * state[own] - level.to_numpy()[own]))
    return out


def curve_table(calls, curves, chance):
    """Return by number of the call: calls, success observed and fitted, and the cost of one more.

    ``among_last``: success of those clients for whom it was the last call, as it is often told.
    ``alike``: fitted success, were all calls of the campaign at this number.
    """
    share = calls["channel"].value_counts(normalize=True)
    last = ~calls["client"].duplicated(keep="last")
    p = fitted(calls["stratum"], calls["channel"], calls["state"].to_numpy(), curves)
    rows = []
    for number in range(1, SHOWN + 1):
        here, state = (calls["state"] == number - 1).to_numpy(), [number - 1.0]
        alike = sum(share[name] * curve.success(state)[0] for name, curve in curves.items())
        cost = sum(
            share[name] * curve.cost(state, chance=chance)[0] for name, curve in curves.items()
        )
        among_last = calls["success"][here & last].mean()
        rows.append({
            "call": number, "calls": int(here.sum()),
            "observed": float(calls["success"][here].mean()), "among_last": float(among_last),
            "fitted": float(p[here].mean(dtype=np.float64)), "alike": float(alike),
            "cost": float(cost),
        })  # fmt: skip
    return rows


def job_of(channels, options, costs, cap=None):
    """Return a job of one offer by either channel; ``cap``: calls before that still allow one."""
    return parse(
        json.dumps({
            "name": "bank", "as_of": "2010-11-01", "holdout_share": 0.0,
            "inputs": {"folder": "data", "subscribers": {"path": "none.parquet"}},
            "scores": {"kind": "formula", "formulas": {"deposit": "0"}},
            "catalogue": {
                "currency": "EUR",
                "channels": {name: {"unit_cost": options.call, "device": name}
                             for name in channels},
                "offers": {"deposit": {
                    "category": "deposit", "value": options.value, "channels": list(channels),
                    **({} if cap is None else {"eligible": f"calls <= {cap}"})}},
            },
            "policies": [{"name": "one", "at_most": 1}],
            "constraints": [{"name": "calls", "measure": "contacts", "at_most": options.calls}],
            "fatigue": costs,
        }),
        "bank.json",
    )  # fmt: skip


def allocated(job, features, p, each):
    """Allocate the next calls; return how many, their value, fatigue (``each``) and the net."""
    scores = {action.name: p for action in actions(job.catalogue)}
    frame = pd.DataFrame({"subscriber": features["subscriber"], **scores})
    placed = assemble(job, [candidates(job, features, frame, History())])
    found = solve(placed.problem, Solver())
    rows = np.asarray(next(iter(placed.order)))[(found.chosen[0] >= 0).any(axis=0)]
    offer, channel = job.catalogue.offers["deposit"], next(iter(job.catalogue.channels.values()))
    value = float(offer.value * p[rows].astype(float).sum() - channel.unit_cost * len(rows))
    fatigue = float(each[rows].sum())
    return {"calls": len(rows), "value": value, "fatigue": fatigue, "net": value - fatigue,
            "gap": found.gap}  # fmt: skip


def compared(clients, curves, chance, options):
    """Return the allocations by value, by value less fatigue, and under each hard cap."""
    channels = sorted(curves)
    borders = range(1, SHOWN + 2)
    fatigue = item(curves, "calls", borders, value=options.value, chance=chance)
    times = clients["campaign"].to_numpy()
    features = pd.DataFrame({"subscriber": np.arange(len(clients)), "calls": times.astype(float)})
    each = np.zeros(len(clients))
    for name in channels:
        features[name] = (clients["contact"] == name).to_numpy()
        own = features[name].to_numpy()
        each[own] = np.array(fatigue["channels"][name])[np.minimum(times[own], SHOWN + 1)]
    stratum = clients["poutcome"] + " " + clients["month"]
    p = fitted(stratum, clients["contact"], times, curves)
    rules = {"value alone": ([], None), "value less fatigue": ([fatigue], None)}
    rules |= {f"at most {k} calls before": ([], k) for k in range(1, SHOWN + 1)}
    return [
        {"rule": rule, **allocated(job_of(channels, options, costs, cap), features, p, each)}
        for rule, (costs, cap) in rules.items()
    ]


def told(found):
    """Print the figures as tables."""
    for name, slope in found["slopes"].items():
        low, high = slope["interval"]
        print(f"{name}: slope {slope['slope']:.4f} ({low:.4f} to {high:.4f}), without strata "
              f"{slope['without_strata']:.4f}; {slope['calls']:,} calls")  # fmt: skip
    print(f"chance of another call: {found['chance']:.3f}\n")
    print("call    calls  observed  among last  fitted   alike  cost of one more (of a success)")
    for row in found["curve"]:
        print(f"{row['call']:4d} {row['calls']:8,d} {row['observed']:9.4f} "
              f"{row['among_last']:11.4f} {row['fitted']:7.4f} {row['alike']:7.4f} "
              f"{row['cost']:8.5f}")  # fmt: skip
    print("\nrule                        calls      value    fatigue        net")
    for row in found["allocations"]:
        print(f"{row['rule']:24s} {row['calls']:8,d} {row['value']:10,.0f} {row['fatigue']:10,.0f} "
              f"{row['net']:10,.0f}")  # fmt: skip


def main(arguments=None):
    """Fit, allocate and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="uci_bank_additional.parquet")
    parser.add_argument("--value", type=float, default=100.0, help="of a success, EUR (ours)")
    parser.add_argument("--call", type=float, default=2.0, help="what one costs, EUR (ours)")
    parser.add_argument("--calls", type=int, default=10**9, help="calls that can be made")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    options = parser.parse_args(arguments)
    clients = pd.read_parquet(options.data, columns=COLUMNS)
    calls = calls_of(clients)
    columns = (calls["state"], calls["success"], calls["channel"].to_numpy(str))
    curves = fit(*columns, calls["stratum"].to_numpy(str))
    raw = fit(*columns, np.zeros(len(calls)))
    chance = 1 - len(clients) / len(calls)
    found = {
        "clients": len(clients), "chance": chance,
        "slopes": {
            name: {"slope": curve.slope, "interval": curve.interval, "calls": curve.contacts,
                   "without_strata": raw[name].slope}
            for name, curve in curves.items()
        },
        "curve": curve_table(calls, curves, chance),
        "allocations": compared(clients, curves, chance, options),
    }  # fmt: skip
    if options.json:
        print(json.dumps(found))
    else:
        told(found)


if __name__ == "__main__":
    main()
