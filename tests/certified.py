"""A small job for tests of the certificate: its partition, honest allocations and their check."""

import numpy as np
import pandas as pd
import yaml

from engine.actions import actions, actions_of
from engine.certificate import certify, check_partition
from engine.history import History
from engine.limits import MICRO, coefficients, limits
from engine.settings import parse


class Plain(yaml.SafeDumper):
    """YAML without aliases, which job files may not have."""

    def ignore_aliases(self, data):
        return True


def job_of(**changes):
    """Return a small job: two offers on two channels, a budget, a scoped minimum."""
    content = {
        "name": "tiny",
        "as_of": "2026-10-01T00:00:00Z",
        "inputs": {
            "folder": "data",
            "subscribers": {"path": "s/*.parquet"},
            "contacts": {"path": "c/*.parquet", "categories": ["offer", "channel"]},
        },
        "scores": {"kind": "formula", "formulas": {"a": "0.5"}},
        "holdout_share": 0.0,
        "catalogue": {
            "currency": "EUR",
            "weight": "weight",
            "channels": {
                "sms": {"unit_cost": 0.25, "consent": "consent"},
                "app": {"unit_cost": 0.0, "device": "has_app"},
            },
            "offers": {
                "a": {"category": "data", "value": 4, "cost": 1, "channels": ["sms", "app"]},
                "b": {
                    "category": "voice", "value": 8, "cost": 2, "channels": ["sms", "app"],
                    "eligible": "age >= 18",
                },
            },
        },
        "policies": [
            {"name": "two", "at_most": 2},
            {"name": "sms_weekly", "at_most": 1, "per": "channel", "only": ["sms"], "within": "7d"},
            {"name": "data_once", "at_most": 1, "per": "category", "only": ["data"]},
        ],
        "constraints": [
            {"name": "budget", "measure": "cost", "at_most": 3},
            {"name": "gold", "measure": "contacts", "where": "gold", "at_least": 1},
        ],
    }  # fmt: skip
    return parse(yaml.dump(content | changes, Dumper=Plain), "tiny.yaml")


def people(n=4, **columns):
    return pd.DataFrame(
        {
            "subscriber": np.arange(10, 10 + n),
            "age": np.full(n, 30.0),
            "weight": np.full(n, 1.0),
            "gold": np.full(n, True),  # noqa: FBT003 (a value, not a switch)
            "consent": np.full(n, True),  # noqa: FBT003
            "has_app": np.full(n, True),  # noqa: FBT003
        }
        | columns
    )


def scores_of(job, features, value=0.5):
    names = [action.name for action in actions(job.catalogue)]
    frame = {"subscriber": features["subscriber"]}
    return pd.DataFrame(frame | {n: np.full(len(features), value, np.float32) for n in names})


def history(*rows):
    frame = pd.DataFrame(rows, columns=["subscriber", "time", "offer", "channel"])
    return frame.astype({"subscriber": "int64", "time": "int64"})


def allocation(job, features, propensity, chosen):
    """Write (row, offer, channel) down as the solver would; or with a day, counted from 0."""
    place = {(a.offer, a.channel, a.day): n for n, a in enumerate(actions_of(job))}
    cost, value = coefficients(job, "cost"), coefficients(job, "value")
    rows = []
    for row, offer, channel, *later in chosen:
        day = later[0] if later else 0
        a = place[offer, channel, day]
        p = float(propensity[f"{offer}@{channel}"].iloc[row])
        weight = round(features["weight"].iloc[row] * 1024) / 1024
        money = [(fixed + accept * p) / MICRO for fixed, accept in (value[a], cost[a])]
        rows.append(
            (features["subscriber"].iloc[row], offer, channel, weight * money[0], money[1], p,
             day + 1)
        )  # fmt: skip
    names = ["subscriber", "offer", "channel", "value", "cost", "propensity", "day"]
    found = pd.DataFrame(rows, columns=names).assign(time=pd.Timestamp(job.as_of))
    return found if job.horizon.days > 1 else found.drop(columns="day")


GOOD = ((0, "a", "sms"), (0, "b", "app"), (1, "b", "sms"), (2, "a", "app"))


def checked(job, features=None, chosen=GOOD, *, contacts=None, change=None, prices=(0.5, 0.25)):
    features = people() if features is None else features
    propensity = scores_of(job, features)
    allocations = allocation(job, features, propensity, chosen)
    allocations = change(allocations) if change else allocations
    return check_partition(
        job,
        features,
        propensity,
        history=History(history() if contacts is None else contacts),
        allocations=allocations,
        prices=list(prices),
    )


def truth(job, *checks):
    """Return the certificate with the claims of an honest solver."""
    none = {"value": 0.0, "bound": 0.0, "uses": [0.0] * len(limits(job))}
    found = certify(job, checks, none)
    uses = [row["use"] for row in found["constraints"]]
    return certify(job, checks, {"value": found["value"], "bound": found["bound"], "uses": uses})


def kinds(check):
    return [violation.kind for violation in check.violations]
