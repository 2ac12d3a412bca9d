"""Where in a CSV file a quote is opened that no other closes: read only to tell an error's place.

As Arrow reads it: a quote opens where a field begins, and nowhere else; within it two quotes are
one that is part of the text, and any other ends it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

ALLOWED = "a field that begins with a quote ends with one, and quotes within it are written twice"
PIECE_BYTES = 1 << 20  # of a file looked at together
_OPENS = re.compile(rb'(?<=[,\r\n])"')
_ENDS = re.compile(rb"\r\n?|\n")
_MARK = b"\xef\xbb\xbf"  # of the byte order, skipped at the start of a file


def open_quote(path: Path, longest: int | None = None) -> int | None:
    """Return the line, from 1, on which the first quote that is not closed opens; None: none.

    Args:
        path: the file, which may be compressed.
        longest: bytes that a quoted field may have; one that has more counts as not closed; None:
            any number.

    Raises:
        OSError, pa.ArrowException: the file cannot be read.
    """
    line, opened, size, before = 1, 0, 0, b"\n"
    for piece in _pieces(path):
        text, at = before + piece, 1
        while at < len(text):
            if not opened:
                quote = _OPENS.search(text, at)
                end = quote.end() if quote else len(text)
                line += _lines(text, at, end)
                opened, size, at = line if quote else 0, 0, end
                continue
            closed = _closes(text, at)
            end = closed or len(text)
            size += end - at
            if longest is not None and size > longest:
                return opened
            line += _lines(text, at, end)
            opened, at = 0 if closed else opened, end
        before = text[-1:]
    return opened or None


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file; no piece ends at what the byte after it gives another meaning."""
    with pa.input_stream(path) as file:
        skipped = _MARK
        while piece := file.read(max(PIECE_BYTES, len(_MARK))):
            while piece[-1:] in (b'"', b"\r") and (more := file.read(1)):
                piece += more
            yield piece.removeprefix(skipped)
            skipped = b""


def _lines(text: bytes, first: int, last: int) -> int:
    return sum(1 for _ in _ENDS.finditer(text, first, last))


def _closes(text: bytes, at: int) -> int | None:
    """Return where a quoted field that has begun is over; None: not in this text."""
    while (quote := text.find(b'"', at)) >= 0:
        if text[quote + 1 : quote + 2] != b'"':
            return quote + 1
        at = quote + 2
    return None
