"""Rows of a CSV file, a block at a time, where quoted fields may hold line breaks.

Arrow cuts a file into blocks of bytes. It finds the last whole row of each, and where a block ends
at a carriage return, it drops a line feed at the start of the next one, even inside quotes: so no
block ends there. After the last byte comes one row more, with a field too many: it is skipped, but
where it is not met, a quote is still open and has swallowed the rows after it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv

from engine.errors import DataError
from jobs.csv_quotes import ALLOWED, open_quote

BLOCK_BYTES = 4 * 1024 * 1024  # of a file parsed at once; Arrow holds up to 40 of them
EMPTY = "Empty CSV file"  # as Arrow says it, also where no row ends in the first block
LAST = "the end of the file"  # first field of the row after the last


def names_of(path: Path) -> list[str]:
    """Return the names in the first row of a file.

    Raises:
        DataError: in the first block, a row is longer than that, or a quote is not closed.
        OSError, pa.ArrowException: the file cannot be read, or a row of the first block.
    """
    with _reader(path, _End(path, LAST), csv.ConvertOptions()) as reader:
        names = list(reader.schema.names)
    if names == [LAST]:
        raise pa.ArrowInvalid(EMPTY)
    return names


def batches(path: Path, columns: int, convert: Any) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file.

    Args:
        path: the file, which may be compressed.
        columns: how many it has.
        convert: pyarrow.csv.ConvertOptions.

    Raises:
        DataError: a row is longer than a block, or a quote is not closed.
        OSError, pa.ArrowException: the file cannot be read.
    """
    end = _End(path, f"{LAST}{',' * columns}")
    with _reader(path, end, convert) as reader:
        yield from reader
    if not end.is_met:
        raise end.not_closed()


def is_read_as(texts: Any, convert: Any) -> bool:
    """Say whether Arrow's reader takes a column of texts, in a file of its own, for a type."""
    fields = pa.BufferOutputStream()
    csv.write_csv(pa.table({"field": texts}), fields)
    content = fields.getvalue()
    try:
        csv.read_csv(
            pa.BufferReader(content), read_options=_read(content.size + 1), parse_options=_parse(),
            convert_options=convert,
        )  # fmt: skip
    except pa.ArrowInvalid:
        return False
    return True


class _End:
    """The row after the last one of a file, and whether it was met."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text, self.is_met, self.is_within = path, text, False, False

    def judge(self, row: Any) -> str:
        """Skip it among the rows of a wrong number of fields."""
        text = row.text.rstrip()
        self.is_met = text.lstrip() == self.text
        self.is_within = not self.is_met and text.endswith(self.text)
        return "skip" if self.is_met else "error"

    def not_closed(self) -> DataError:
        line = open_quote(self.path)
        return DataError(
            f"{self.path}, line {line}: a quote is opened and not closed, so its field goes on to "
            f"the end of the file; {ALLOWED}"
        )


@contextmanager
def _reader(path: Path, end: _End, convert: Any) -> Iterator[Any]:
    try:
        with pa.input_stream(path) as file:
            blocks = _Blocks(file, f"\n{end.text}\n".encode())
            with csv.open_csv(
                blocks, read_options=_read(BLOCK_BYTES), parse_options=_parse(end.judge),
                convert_options=convert,
            ) as reader:  # fmt: skip
                yield reader
    except pa.ArrowInvalid as error:
        if end.is_within or (EMPTY in str(error) and open_quote(path)):
            raise end.not_closed() from None
        if "straddles two block boundaries" not in str(error) and EMPTY not in str(error):
            raise
        raise _too_long(path) from None


def _too_long(path: Path) -> DataError:
    """Return the error of a row that no block holds."""
    what = f"a row is longer than {BLOCK_BYTES:,} bytes"
    line = open_quote(path, BLOCK_BYTES)
    if line is None:
        return DataError(f"{path}: {what}, the most that one may have")
    return DataError(f"{path}, line {line}: {what}; is a quote not closed? {ALLOWED}")


class _Blocks(RawIOBase):
    """The bytes of a file, then others; no block ends at a carriage return."""

    def __init__(self, file: Any, then: bytes) -> None:
        self.file, self.then, self.left, self.is_over = file, then, b"", False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self.is_over and len(self.left) < size:
            more = self.file.read(size - len(self.left))
            self.left, self.is_over = self.left + (more or self.then), not more
        block = self.left[:size]
        block = block.rstrip(b"\r") or block
        self.left = self.left[len(block) :]
        return block


def _read(size: int) -> Any:
    return csv.ReadOptions(use_threads=False, block_size=size)


def _parse(judge: Any = None) -> Any:
    return csv.ParseOptions(newlines_in_values=True, invalid_row_handler=judge)
