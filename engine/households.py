"""Which subscribers of a partition share a household; all members are in one partition.

A subscriber without a household, or with one that nobody else is in, is alone: a household of one,
of which a policy over households asks what it would ask of the subscriber.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from engine import tables
from engine.block import KEY_RANGE, MEMBER_BITS
from engine.errors import DataError
from engine.household_rules import MOST_MEMBERS
from engine.send_times import SendTimes
from engine.settings import Job
from kernels.backend import library, to_cpu

TOLD = 5  # households of a kind that an error names
LOW = (1 << MEMBER_BITS) - 1


@dataclass(frozen=True, eq=False)
class Households:
    """The households of a partition. S subscribers, H households, those of one included."""

    number: Any  # [S] int64, in [0, H)
    count: int  # H
    key: Any  # [S] int64, the household's hash in [0, KEY_RANGE); -1: alone

    @classmethod
    def of(cls, job: Job, features: Any) -> "Households":
        """Read the column of the households.

        Raises:
            DataError: two households have one hash.
        """
        side, column = tables.array_library(features), job.inputs.subscribers.household
        codes, found = features[column].reset_index(drop=True).factorize()
        names = tables.library(features).Series(found)
        if not pd.api.types.is_numeric_dtype(names.dtype):
            names = names.astype("str")
            is_blank = tables.array(names == "").astype(bool)
        else:  # whole numbers with nulls among them come as floats
            names = names.astype("int64")
            is_blank = side.zeros(len(names), bool)
        hashed = tables.bucket(names, KEY_RANGE)
        if len(side.unique(hashed)) < len(hashed):
            raise DataError(
                f"{job.inputs.subscribers.path}: column {column}: two households have one hash; "
                "rename one of them"
            )
        size = side.bincount(codes[codes >= 0], minlength=len(names) + 1)  # the last: of no name
        size[:-1][is_blank] = 0
        alone = size[codes] == 0
        number = side.where(alone, len(names) + side.cumsum(alone) - 1, codes)
        hashed = side.append(hashed, -1)
        return cls(
            number.astype("int64"),
            len(names) + int(alone.sum()),
            side.where(size[codes] > 1, hashed[codes], -1).astype("int64"),
        )

    @cached_property
    def rows(self) -> Any:
        """Return [S] the rows, household by household."""
        return library(self.number).lexsort(self.number[None])

    @cached_property
    def indptr(self) -> Any:
        """Return [H + 1] int64, a household's rows are ``rows[indptr[h]:indptr[h + 1]]``."""
        side = library(self.number)
        found = side.zeros(self.count + 1, "int64")
        found[1:] = side.cumsum(side.bincount(self.number, minlength=self.count))
        return found

    @property
    def most(self) -> int:
        """Return the members of the largest household."""
        sizes = self.indptr[1:] - self.indptr[:-1]
        return int(sizes.max()) if self.count else 0

    def of_each(self, values: Any) -> Any:
        """Return [H] what is the same for all members of a household, given [S]."""
        found = library(values).zeros(self.count, values.dtype)
        found[self.number] = values
        return found

    def any(self, mask: Any) -> Any:
        """Return [S] bool, whether it is true for any member of the household."""
        found = library(mask).zeros(self.count, bool)
        found[self.number[mask]] = True
        return found[self.number]

    def total(self, values: Any) -> Any:
        """Return [S] int64, the sum over all members of the household, given [S] whole numbers."""
        found = library(values).zeros(self.count, "int64")
        library(values).add.at(found, self.number, values)
        return found[self.number]

    @property
    def one(self) -> Any:
        """Return a row of each household that there is."""
        return self.rows[self.indptr[:-1][self.indptr[1:] > self.indptr[:-1]]]

    def keys(self, own: Any) -> Any:
        """Return [S] int64 keys of which members have the upper half in common.

        Args:
            own: [S] int64, the subscribers' hashes in [0, KEY_RANGE).
        """
        return library(own).where(self.key < 0, own, self.key & ~LOW | own & LOW)


def households_of(job: Job, features: Any, times: SendTimes) -> Households | None:
    """Return the households of a partition; None: no policy asks for them.

    Raises:
        DataError: members of a household have different time zones, or there are too many of them
            to choose for together.
    """
    if not any(policy.over == "household" for policy in job.policies):
        return None
    found = Households.of(job, features)
    where = f"{job.inputs.subscribers.path}: column {job.inputs.subscribers.household}"
    zone = times.zone
    apart = found.any(found.of_each(zone)[found.number] != zone)
    if apart.any():
        raise DataError(_of_zones(where, features, apart, times, job))
    large = (found.indptr[1:] - found.indptr[:-1])[found.number] > MOST_MEMBERS
    if large.any() and any(policy.is_joint for policy in job.policies):
        names = _host(features[job.inputs.subscribers.household])[to_cpu(large)]
        told = sorted(names.value_counts().items())
        some = ", ".join(f"{name} of {n:,}" for name, n in told[:TOLD])
        raise DataError(
            f"{where}: {len(told):,} households are too large, such as {some}; with caps and "
            f"exclusions over households they have at most {MOST_MEMBERS} subscribers"
        )
    return found


def mates(job: Job, features: Any, row: int) -> list[int]:
    """Return the rows of a subscriber's household, its own first; that alone if none is asked."""
    if not any(policy.over == "household" for policy in job.policies):
        return [row]
    number = to_cpu(Households.of(job, features).number)
    return [row, *(i for i in np.flatnonzero(number == number[row]).tolist() if i != row)]


def _of_zones(where: str, features: Any, apart: Any, times: SendTimes, job: Job) -> str:
    """Return what to say of households in several time zones."""
    column, rows = job.inputs.subscribers.household, to_cpu(apart)
    frame = pd.DataFrame({
        "home": _host(features[column])[rows],
        "key": _host(features["subscriber"])[rows],
        "zone": np.array(times.zones, object)[to_cpu(times.zone)[rows]],
    }).sort_values(["home", "key"])  # fmt: skip
    homes = list(frame.groupby("home"))
    told = []
    for home, own in homes[:TOLD]:
        one, other = own.iloc[0], own[own["zone"] != own["zone"].iloc[0]].iloc[0]
        told.append(f"{home}: {one['key']} in {one['zone']} and {other['key']} in {other['zone']}")
    return (
        f"{where}: {len(homes):,} households are in several time zones, such as "
        f"{'; '.join(told)}; with policies over households their subscribers have one"
    )


def _host(series: Any) -> Any:
    """Return a column as a series of pandas with a plain index."""
    series = series.reset_index(drop=True)
    return series.to_pandas() if hasattr(series, "to_pandas") else series
