"""Parameters that features take from the whole base, as of the job's instant.

Partitions return small summaries, which are put together in one place: the same parameters for any
partitioning. They know everything until the job's instant, so a column that uses them is a snapshot
(:attr:`engine.quantities.Column.snapshot`): asked for as of a past contact it has its events of
then, but parameters of now, and models leave it out unless it is listed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from engine import lifetime, priors, rfm
from engine.quantities import Column, per_group, source_of
from engine.settings import Job
from engine.settings.features import Feature
from engine.settings.group_features import ResponseFeature
from engine.settings.value_features import LifetimeFeature, RfmFeature
from engine.value_features import horizon_days

Parameters = Annotated[rfm.Cuts | lifetime.Model | priors.Priors, Field(discriminator="kind")]
Summaries = Mapping[str, Any]
"""Of a partition, by feature: :class:`engine.lifetime.Sample`, counts of :mod:`engine.rfm` or
:mod:`engine.priors`."""


@dataclass(frozen=True)
class Fitted:
    """The parameters of a job's features, by feature; empty where no feature takes any."""

    features: Mapping[str, Parameters] = field(default_factory=dict)

    def text(self) -> str:
        """Return the parameters as JSON, to the last bit."""
        return _ADAPTER.dump_json(self, indent=1).decode()

    @classmethod
    def of(cls, text: str) -> "Fitted":
        """Return what :meth:`text` told."""
        return _ADAPTER.validate_json(text)


_ADAPTER = TypeAdapter(Fitted)
NOTHING = Fitted()


def summaries(
    job: Job, keys: Any, columns: Iterable[Column], found: Mapping[Any, Any]
) -> Summaries:
    """Summarise a partition for the features that take parameters.

    Args:
        job: the job.
        keys: the partition's subscribers, a series.
        columns: the columns that take parameters.
        found: [S] float64 of their inputs, as of the job's instant.
    """
    inputs: dict[str, list[list[Any]]] = {}
    for column in columns:
        inputs.setdefault(column.feature, []).append([found[i] for i in column.inputs])
    settings = {feature.name: feature for feature in job.features}
    return {name: _summary(settings[name], job, keys, own) for name, own in inputs.items()}


def _summary(feature: Feature, job: Job, keys: Any, inputs: list[list[Any]]) -> Any:
    match feature:
        case RfmFeature():
            return rfm.counted(*inputs[0])
        case LifetimeFeature():
            return lifetime.sampled(keys, inputs[0], feature.sample)
        case ResponseFeature():
            groups = per_group(source_of(""), feature.per, job)
            counts = (priors.counted(*own) for own in inputs)
            return dict(zip(groups, counts, strict=True))
    raise AssertionError(f"{feature.op} takes no parameters")


def fit(job: Job, parts: Sequence[Summaries]) -> Fitted:
    """Return the parameters from the summaries of all partitions.

    Raises:
        DataError: a lifetime value cannot be fitted.
    """
    found: dict[str, Any] = {}
    for place, feature in enumerate(job.features):
        own = [part[feature.name] for part in parts if feature.name in part]
        if not own:
            continue
        match feature:
            case RfmFeature():
                found[feature.name] = rfm.cuts(own, feature.bins)
            case LifetimeFeature():
                sample = lifetime.merged(own, feature.sample)
                where = f"features.{place} ({feature.name})"
                found[feature.name] = lifetime.fit(sample, horizon_days(feature), where)
            case ResponseFeature():
                found[feature.name] = priors.fit(own, feature.prior, feature.strength)
    return Fitted(found)
