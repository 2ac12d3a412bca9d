"""Events that are in order and more events become one table in order, the same bits as all at once.

Both tables ascend by subscriber, time, then every other column; so does the result. Rows are placed
by subscriber and time in one linear pass; only where a new row has the subscriber and instant of
another are the other columns compared.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.ingest import EARLIEST, KEY, LATEST, TIME

SPAN_S = LATEST - EARLIEST  # of instants; a rank times it stays below 2 ** 63


def merge_events(old: pa.Table, new: pa.Table, subscribers: Any) -> pa.Table:
    """Merge two tables of events of one schema.

    Args:
        old: events in order, see :func:`engine.ingest.order_events`.
        new: likewise.
        subscribers: the sorted keys of the partition, which has the subscribers of both.
    """
    assert len(subscribers) < 2**63 // SPAN_S
    both = pa.concat_tables([old, new]).combine_chunks()
    rank = pc.index_in(both[KEY], value_set=subscribers)
    place = rank.to_numpy().astype(np.int64) * SPAN_S + (both[TIME].to_numpy() - EARLIEST)
    first, more = place[: len(old)], place[len(old) :]
    at = np.searchsorted(first, more, side="right") + np.arange(len(more))
    is_new = np.zeros(len(place), bool)
    is_new[at] = True
    order = np.empty(len(place), np.int64)
    order[at] = np.arange(len(old), len(place))
    order[~is_new] = np.arange(len(old))
    tied = _tied(place[order], at)
    rows = both.take(pa.array(order[tied])).set_column(0, KEY, rank.take(pa.array(order[tied])))
    keys = [(name, "ascending") for name in rows.column_names]
    order[tied] = order[tied][pc.sort_indices(rows, sort_keys=keys).to_numpy()]
    return both.take(pa.array(order))


def _tied(place: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the rows that share their place with others, where one of these is new."""
    starts = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])[: len(place)]
    sizes = np.diff(np.r_[starts, len(place)])
    group = np.repeat(np.arange(len(starts)), sizes)
    has_new = np.zeros(len(starts), bool)
    has_new[group[new]] = True
    return np.flatnonzero((has_new & (sizes > 1))[group])
