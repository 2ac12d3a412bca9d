"""Which subscribers are one household, as the certificate reads it.

Written for the certificate alone; it shares no code with the solver. S subscribers, H households:
a subscriber who is alone has one of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from engine.certificate_rules import HOUSEHOLD
from engine.errors import DataError
from engine.settings import Job


@dataclass(frozen=True)
class Homes:
    """The households of a partition's subscribers."""

    of: Any  # [S] int64, in [0, H)
    order: Any  # [S] int64, positions of subscribers: household by household, each by key
    indptr: Any  # [H + 1] int64, where households begin in the order

    @property
    def first(self) -> Any:
        """Return [H] int64, the position of each household's first member, by key."""
        return self.order[self.indptr[:-1]]


def homes(job: Job, features: pd.DataFrame, zone: Any, zones: Sequence[str]) -> Homes | None:
    """Return the households; None: no policy is over them.

    Args:
        job: the job.
        features: the partition's subscribers.
        zone: [S] int64, their time zones.
        zones: names of time zones.

    Raises:
        DataError: members of a household have different time zones, or there are more than 8 and
            a policy bounds what they get together.
    """
    column = job.inputs.subscribers.household
    if column is None or not any(policy.over == "household" for policy in job.policies):
        return None
    size = len(features)
    code, names = pd.factorize(features[column])
    is_alone = code < 0
    if len(names) and not pd.api.types.is_numeric_dtype(names.dtype):
        is_alone |= (np.asarray(names, object) == "")[code]
    _, of = np.unique(
        np.where(is_alone, len(names) + np.arange(size), code), return_inverse=True
    )  # fmt: skip
    of = of.reshape(-1).astype(np.int64)
    rank = pd.Index(features["subscriber"]).argsort().argsort()
    order = np.lexsort((rank, of)).astype(np.int64)
    indptr = np.searchsorted(of[order], np.arange(1 + of.max(initial=-1) + 1)).astype(np.int64)
    found = Homes(of, order, indptr)
    keys = features["subscriber"]
    wrong = np.flatnonzero(zone[found.first][of] != zone)
    if len(wrong):
        other = int(wrong[0])
        one = int(found.first[of[other]])
        raise DataError(
            f"subscribers: household {names[code[one]]} has members in two time zones, "
            f"{keys.iloc[one]} in {zones[zone[one]]} and {keys.iloc[other]} in "
            f"{zones[zone[other]]}; policies over households need one"
        )
    sizes = np.diff(indptr)
    if sizes.max(initial=0) > HOUSEHOLD and any(policy.is_joint for policy in job.policies):
        h = int(sizes.argmax())
        raise DataError(
            f"subscribers: household {names[code[found.first[h]]]} has {sizes[h]} members; at most "
            f"{HOUSEHOLD} are allowed with caps and exclusions over households"
        )
    return found
