"""What tests of kernels that look at the order of events share."""

import numpy as np

from kernels import backend

ALL = np.empty(0, bool)  # every event is kept


def instants(time, kept, start, stop, at):
    """Yield the instants of the kept events of each row, oldest first, and the row's instant."""
    for a, b, t in zip(start, stop, at, strict=True):
        yield [int(time[e]) for e in range(a, b) if not len(kept) or kept[e]], int(t)


def one_row(ages, at=0):
    """Return time, kept, start, stop and at of one row with events of these ages, oldest first."""
    whole = (np.array([x], np.int64) for x in (0, len(ages), at))
    return at - np.array(ages, np.int64), ALL, *whole


def as_tuple(result):
    """Return the outputs of an operation as a tuple."""
    return result if isinstance(result, tuple) else (result,)


def same(found, expected):
    """Check that outputs have the same types, shapes and bits; a NaN is as good as another."""
    found, expected = as_tuple(found), as_tuple(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_array_equal(one, other)


def check_rows(on_each_backend, name, operands, rows):
    """Check that both sides agree to the bit, and that no row sees another.

    Args:
        on_each_backend: the fixture.
        name: of the operation.
        operands: its arguments.
        rows: places of start, stop and at among them.
    """
    together = on_each_backend(name, *operands)
    same(together, backend.TWINS[name][0](*operands))
    for r in range(len(operands[rows[0]])):
        one = slice(r, r + 1)
        alone = [a[one] if i in rows else a for i, a in enumerate(operands)]
        same(on_each_backend(name, *alone), tuple(a[..., one] for a in as_tuple(together)))


def check_kept(on_each_backend, name, operands, *, kept, of_events, rows):
    """Check that events that are not kept could as well be absent.

    Args:
        on_each_backend: the fixture.
        name: of the operation.
        operands: its arguments.
        kept: place of ``kept`` among them.
        of_events: places of the arrays of events beside it.
        rows: places of start, stop and at.
    """
    mask = operands[kept]
    if not len(mask):
        return
    before = np.cumsum([0, *mask])
    own = list(operands)
    own[kept] = ALL
    for i in of_events:
        own[i] = own[i][mask] if len(own[i]) else own[i]
    for i in rows[:2]:
        own[i] = before[own[i]]
    same(on_each_backend(name, *operands), on_each_backend(name, *own))
