"""Who is not in the bucket of the own key, as members of a household are: a table on disk.

Phase 1 of the subscriber table notes the word and the partition of each subscriber beside its
fragment, 10 bytes, in batches ordered by word. :func:`build` puts those who are elsewhere in order,
a range of words at a time. Tasks map the table into memory, so that those of a machine share it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap

from engine import placing, tables
from engine.errors import DataError
from engine.ingest import KEY
from engine.settings import Job
from jobs import stored

FOLDER = "households"
FILES = ("word.npy", "partition.npy")
WORDS = pa.schema([("word", pa.uint64()), ("partition", pa.uint16())])
RANGE = 1 << 20  # words that are put in order at once, on average


def words_of(fragment: Path) -> Path:
    """Return where the words and partitions of a fragment's subscribers are."""
    return fragment.with_suffix(".words")


def noted(words: Any, partition: Any) -> pa.RecordBatch:
    """Return subscribers as a batch of ``WORDS``, ordered by word.

    Args:
        words: [S] uint64.
        partition: [S] uint16.
    """
    order = np.argsort(words, kind="stable")
    return pa.RecordBatch.from_arrays([words[order], partition[order]], schema=WORDS)


def place(job: Job, ingested: Path) -> Path | None:
    """Return the folder of the table of an ingested job; None: it knows no households."""
    return None if job.inputs.subscribers.household is None else ingested / FOLDER


def moved(folder: Path | None) -> placing.Moved:
    """Return the table of a folder, mapped into memory; None: that of a job without households.

    Raises:
        DataError: it is damaged.
    """
    if folder is None:
        return placing.Moved.none()
    found = []
    for name in FILES:
        try:
            found.append(np.load(folder / name, mmap_mode="r"))
        except (FileNotFoundError, ValueError, EOFError) as error:
            raise stored.damaged(folder / name, f"cannot be read: {error}") from None
    return placing.Moved(*found)


def build(fragments: Sequence[Path], partitions: int, folder: Path) -> list[str]:
    """Write the table of those who are not in the bucket of their own key.

    Args:
        fragments: all fragments of the subscriber table, with what is noted beside them.
        partitions: number of partitions.
        folder: receives ``FILES``.

    Returns:
        Keys that occur more than once, as text; if there are any the table is of no use.

    Raises:
        DataError: two text keys share a word, one of a subscriber that is elsewhere.
    """
    with ExitStack() as stack:
        batches = [batch for path in fragments for batch in _batches(words_of(path), stack)]
        own = [(np.asarray(words), np.asarray(at)) for words, at in (b.columns for b in batches)]
        count = sum(int((words % np.uint64(partitions) != at).sum()) for words, at in own)
        kinds = (np.uint64, np.uint16)
        kept = [
            open_memmap(folder / name, "w+", kind, (count,))
            for name, kind in zip(FILES, kinds, strict=True)
        ]
        start, unclear, twice = 0, False, []
        for words, at in _in_order(own):
            away = words % np.uint64(partitions) != at
            same = words[1:] == words[:-1]
            unclear |= bool((same & (away[1:] | away[:-1])).any())
            twice.append(words[1:][same])
            stop = start + int(away.sum())
            kept[0][start:stop], kept[1][start:stop] = words[away], at[away]
            start = stop
        for part in kept:
            part.flush()
    return _again(fragments, np.unique(np.concatenate(twice))) if unclear else []


def _in_order(own: Sequence[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Give all words in order, with their partitions, a range of words at a time."""
    ranges = 1 + sum(len(words) for words, _ in own) // RANGE
    inner = np.array([2**64 * i // ranges for i in range(1, ranges)], np.uint64)
    cuts = [[0, *np.searchsorted(words, inner), len(words)] for words, _ in own]
    for i in range(ranges):
        parts = [slice(cut[i], cut[i + 1]) for cut in cuts]
        words = np.concatenate([own[k][0][part] for k, part in enumerate(parts)] or [[]])
        at = np.concatenate([own[k][1][part] for k, part in enumerate(parts)] or [[]])
        order = np.argsort(words, kind="stable")
        yield words[order].astype(np.uint64), at[order].astype(np.uint16)


def _again(fragments: Sequence[Path], words: Any) -> list[str]:
    """Return the keys of these words that occur more than once, as text.

    Raises:
        DataError: there is none, so that keys that differ share a word.
    """
    with ExitStack() as stack:
        found = []
        for batch in (batch for path in fragments for batch in _batches(path, stack)):
            keys = batch[KEY].to_pandas()
            found += keys[np.isin(tables.words(keys), words)].to_list()
    again = sorted(str(key) for key, times in Counter(found).items() if times > 1)
    if not again:
        raise DataError(
            f"inputs.subscribers: the keys {' and '.join(sorted(map(str, found))[:2])} have one "
            "hash, and one is of a household; write one of them in another way"
        )
    return again


def _batches(path: Path, stack: ExitStack) -> Iterator[pa.RecordBatch]:
    """Give the batches of an Arrow file, mapped into memory as long as the stack is open."""
    mapped = stack.enter_context(pa.memory_map(str(path)))
    file = stack.enter_context(pa.ipc.open_file(mapped))
    for i in range(file.num_record_batches):
        yield file.get_batch(i)
