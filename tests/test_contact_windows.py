"""What counters saw of a contact history against plain definitions, on every backend."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import latest_burst, most_in_window, threads
from kernels.contact_windows import MOST_COUNTED, NEVER, TILE, TILE_OF_TIMES
from tests.sequences import same

LONGEST = 2**62
WIDTHS = st.sampled_from([1, 2, 3, 5, 9, LONGEST])


def histories_of(time, code, indptr):
    """Yield the events of each subscriber: time and code."""
    for a, b in pairwise(indptr.tolist()):
        yield list(zip(time[a:b].tolist(), code[a:b].tolist(), strict=True))


def counted_by(counter_indptr, counter, c):
    """Return the codes that a counter counts."""
    lists = [counter[a:b] for a, b in pairwise(counter_indptr.tolist())]
    return {n for n, own in enumerate(lists) if c in own}


def every(low, high, events):
    """Return every whole end of a window."""
    return range(low, high + 1)


def met(low, high, events):
    """Return the ends of a window at which it can be fullest, for long spans."""
    return {low} | {t for t, _ in events if low < t <= high}


def most_definition(operands, ends=every):
    """Return the largest number in a window, over the ends that it may have."""
    time, code, indptr, zone, *lists, contact, per_contact, width, first, last = operands
    used = np.zeros((len(per_contact), len(zone)), np.uint8)
    for s, events in enumerate(histories_of(time, code, indptr)):
        for c in range(len(per_contact)):
            codes, low, high = counted_by(*lists, c), int(first[zone[s], c]), int(last[zone[s], c])
            own = [(t, ("code", contact[n]) if per_contact[c] and contact[n] >= 0 else i)
                   for i, (t, n) in enumerate(events) if n in codes]  # fmt: skip
            long = int(width[zone[s], c])
            inside = [{x for x in own if u - long < x[0] <= u} for u in ends(low, high, own)]
            used[c, s] = min(MOST_COUNTED, max(map(len, inside)))
    return used


def latest_definition(operands):
    """Return the time of the latest event with enough others before it."""
    time, code, indptr, zone, *lists, times, width, until = operands
    latest = np.full((len(times), len(zone)), NEVER, np.int64)
    for s, events in enumerate(histories_of(time, code, indptr)):
        for c in range(len(times)):
            codes = counted_by(*lists, c)
            own = [t for t, n in events if n in codes]
            dense = [t for t in own if t <= until[zone[s]]
                     and sum(t - int(width[c]) < x <= t for x in own) >= times[c]]  # fmt: skip
            latest[c, s] = max(dense, default=NEVER)
    return latest


@st.composite
def histories(draw):
    """Return events, zones and counters of few subscribers; many instants are equal."""
    instants = st.integers(0, 9)
    each = draw(st.lists(st.lists(instants, max_size=8), max_size=4))
    origin = draw(st.sampled_from([0, -5, 1 - 2**40, 2**40 - 12]))
    time = np.array([t for times in each for t in sorted(times)], np.int64) + origin
    codes, counters, zones = (draw(st.integers(1, 4)) for _ in range(3))
    code = draw(st.lists(st.integers(0, codes - 1), min_size=len(time), max_size=len(time)))
    zone = draw(st.lists(st.integers(0, zones - 1), min_size=len(each), max_size=len(each)))
    own = st.sets(st.integers(0, counters - 1))
    lists = [sorted(draw(own)) for _ in range(codes)]
    arrays = (
        time, np.array(code, np.int32), np.cumsum([0, *map(len, each)]), np.array(zone, np.int32),
        np.cumsum([0, *map(len, lists)], dtype=np.int32),
        np.array([c for one in lists for c in one], np.int32),
    )  # fmt: skip
    return arrays, (codes, counters, zones), origin


@st.composite
def windows(draw):
    """Return the arguments of ``most_in_window``."""
    arrays, (codes, counters, zones), origin = draw(histories())
    shape = (zones, counters)
    cells = zones * counters

    def table(values):
        drawn = draw(st.lists(values, min_size=cells, max_size=cells))
        return np.array(drawn, np.int64).reshape(shape)

    contact = draw(st.lists(st.integers(-1, codes - 1), min_size=codes, max_size=codes))
    once = draw(st.lists(st.integers(0, 1), min_size=counters, max_size=counters))
    first = table(st.integers(-2, 11)) + origin
    longer = table(st.sampled_from([0, 0, 1, 3, 12]))
    ends = np.array(contact, np.int32), np.array(once, np.uint8), table(WIDTHS)
    return *arrays, *ends, first, first + longer


@st.composite
def bursts_asked(draw):
    """Return the arguments of ``latest_burst``."""
    arrays, (_, counters, zones), origin = draw(histories())
    times = draw(st.lists(st.integers(1, 4), min_size=counters, max_size=counters))
    width = draw(st.lists(WIDTHS, min_size=counters, max_size=counters))
    until = draw(st.lists(st.integers(-2, 11), min_size=zones, max_size=zones))
    numbers = np.array(width, np.int64), np.array(until, np.int64) + origin
    return *arrays, np.array(times, np.int32), *numbers


OPERATIONS = pytest.mark.parametrize(
    ("name", "asked", "definition"),
    [("most_in_window", windows(), most_definition),
     ("latest_burst", bursts_asked(), latest_definition)],
    ids=["most_in_window", "latest_burst"],
)  # fmt: skip


def part(operands, low, high):
    """Return the arguments for some subscribers: with their own events, and all else."""
    time, code, indptr, zone, *rest = operands
    events = slice(indptr[low], indptr[high])
    return time[events], code[events], indptr[low : high + 1] - indptr[low], zone[low:high], *rest


@OPERATIONS
@given(data=st.data())
def test_each_matches_its_definition(on_each_backend, name, asked, definition, data):
    operands = data.draw(asked)
    same(on_each_backend(name, *operands), definition(operands))


@OPERATIONS
@given(data=st.data())
def test_the_order_of_events_of_equal_time_does_not_matter(
    on_each_backend, name, asked, definition, data
):
    time, code, indptr, *rest = data.draw(asked)
    mixed = data.draw(st.permutations(range(len(time))))
    owner = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.array(sorted(mixed, key=lambda e: (owner[e], time[e])), np.int64)
    expected = on_each_backend(name, time, code, indptr, *rest)
    same(on_each_backend(name, time, code[order], indptr, *rest), expected)


def drawn(name, subscribers, events=12, counters=7, codes=9):
    """Return larger arguments, from a seed."""
    rng = np.random.default_rng(subscribers)
    indptr = np.cumsum([0, *rng.integers(0, 2 * events, subscribers)])
    owner = np.repeat(np.arange(subscribers), np.diff(indptr))
    time = rng.integers(0, 50, len(owner))
    lists = [np.flatnonzero(rng.random(counters) < 0.4) for _ in range(codes)]
    first = rng.integers(20, 50, (3, counters))
    arrays = (
        time[np.lexsort((time, owner))], rng.integers(0, codes, len(owner)).astype(np.int32),
        indptr, rng.integers(0, 3, subscribers).astype(np.int32),
        np.cumsum([0, *map(len, lists)], dtype=np.int32), np.concatenate(lists).astype(np.int32),
    )  # fmt: skip
    if name == "latest_burst":
        times = rng.integers(1, 4, counters).astype(np.int32)
        return *arrays, times, rng.integers(1, 30, counters), rng.integers(20, 50, 3)
    once = np.arange(counters, dtype=np.uint8) % 2
    ends = rng.integers(1, 60, first.shape), first, first + 10 * (first % 2)
    return *arrays, rng.integers(0, 3, codes).astype(np.int32), once, *ends


@OPERATIONS
@pytest.mark.parametrize(
    "subscribers", [0, 1, 2, TILE_OF_TIMES + 1, TILE - 1, TILE + 1, 3 * TILE + 5]
)
def test_sizes_about_those_of_tiles(on_each_backend, name, asked, definition, subscribers):
    operands = drawn(name, subscribers)
    same(on_each_backend(name, *operands), definition(operands))


@OPERATIONS
def test_the_same_bits_however_subscribers_are_split(name, asked, definition):
    operands = drawn(name, threads.CHUNK + 67, events=3)
    operation = {"most_in_window": most_in_window, "latest_burst": latest_burst}[name]
    whole = operation(*operands)
    cuts = [0, 1, 66, 1_000, threads.CHUNK + 1, threads.CHUNK + 67]
    parts = [operation(*part(operands, a, b)) for a, b in pairwise(cuts)]
    same(np.concatenate(parts, axis=1), whole)
    one_thread = threads.MOST_THREADS.set(1)
    try:
        same(operation(*operands), whole)
    finally:
        threads.MOST_THREADS.reset(one_thread)


@OPERATIONS
def test_without_counters_there_is_nothing(on_each_backend, name, asked, definition):
    *events, zone, _, _ = drawn(name, 5)[:6]
    none, codes = np.empty(0, np.int32), np.zeros(10, np.int32)
    table = np.empty((3, 0), np.int64)
    rest = (
        (np.zeros(9, np.int32), np.empty(0, np.uint8), table, table, table)
        if name == "most_in_window"
        else (none, table[0], np.zeros(3, np.int64))
    )
    assert on_each_backend(name, *events, zone, codes, none, *rest).shape == (0, 5)


def one_subscriber(times, codes, lists):
    """Return the arguments about events, of one subscriber in one zone."""
    return (
        np.array(times, np.int64), np.array(codes, np.int32), np.array([0, len(times)]),
        np.zeros(1, np.int32), np.cumsum([0, *map(len, lists)], dtype=np.int32),
        np.array([c for one in lists for c in one], np.int32),
    )  # fmt: skip


def most(on_each_backend, events, *, contact, once, width, first, last):
    """Return the numbers of each counter, of one subscriber; all counters have one window."""
    tables = [np.full((1, len(once)), x, np.int64) for x in (width, first, last)]
    own = np.array(contact, np.int32), np.array(once, np.uint8)
    return on_each_backend("most_in_window", *events, *own, *tables)[:, 0].tolist()


def test_a_package_is_one_contact_and_several_offers(on_each_backend):
    events = one_subscriber([5, 5, 5, 6], [0, 1, 2, 0], [[0, 1], [0, 1], [0, 1]])
    asked = {"contact": [0, 0, 1], "once": [1, 0], "width": 10, "first": 8, "last": 8}
    assert most(on_each_backend, events, **asked) == [3, 4]
    # Without a package an event is a contact by itself, beside another of its kind too.
    same = one_subscriber([5, 5], [0, 0], [[0, 1]])
    assert most(on_each_backend, same, **asked | {"contact": [0]}) == [1, 2]
    assert most(on_each_backend, same, **asked | {"contact": [-1]}) == [2, 2]
    # An event that a counter leaves out does not stand for its contact.
    events = one_subscriber([5, 5], [0, 1], [[0], [0, 1]])
    assert most(on_each_backend, events, **asked | {"contact": [0, 0], "once": [1, 1]}) == [1, 1]


def test_a_window_that_may_end_later_takes_the_fullest(on_each_backend):
    events = one_subscriber([1, 2, 3, 10, 11, 12, 13, 30], [0] * 8, [[0]])
    asked = {"contact": [0], "once": [0], "width": 4}
    assert most(on_each_backend, events, first=3, last=3, **asked) == [3]
    assert most(on_each_backend, events, first=3, last=11, **asked) == [3]
    assert most(on_each_backend, events, first=3, last=40, **asked) == [4]
    assert most(on_each_backend, events, first=5, last=9, **asked) == [2]


@pytest.mark.parametrize("span", [0, 1_000])
def test_more_than_can_be_told_are_as_many_as_can(on_each_backend, span):
    events = one_subscriber(range(300), [0] * 300, [[0, 1]])
    asked = {"contact": [0], "once": [0, 1], "width": LONGEST, "last": 299}
    assert most(on_each_backend, events, first=299 - min(span, 299), **asked) == [255, 255]
    events = one_subscriber([7] * 300, [0] * 300, [[0, 1]])
    assert most(on_each_backend, events, first=299 - span, **asked) == [255, 1]


def burst(on_each_backend, times, at_least, width, until):
    """Return the latest burst of one subscriber's events."""
    events = one_subscriber(times, [0] * len(times), [[0]])
    numbers = np.array([at_least], np.int32), np.array([width]), np.array([until])
    return int(on_each_backend("latest_burst", *events, *numbers)[0, 0])


def test_a_burst_is_dated_by_its_last_event(on_each_backend):
    times = [1, 2, 3, 10, 12, 20]
    assert burst(on_each_backend, times, 1, 1, 99) == 20
    assert burst(on_each_backend, times, 2, 3, 99) == 12
    assert burst(on_each_backend, times, 2, 2, 99) == 3  # the window is open where it begins
    assert burst(on_each_backend, times, 3, 3, 99) == 3
    assert burst(on_each_backend, times, 2, 3, 11) == 3
    assert burst(on_each_backend, times, 6, LONGEST, 99) == 20
    assert burst(on_each_backend, times, 7, LONGEST, 99) == NEVER
    assert burst(on_each_backend, times, 1, 1, 0) == NEVER


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    operands = list(drawn("most_in_window", 3))
    operands[1] = operands[1].astype(np.int64)
    with pytest.raises(TypeError, match="most_in_window: code must be contiguous int32, got int64"):
        most_in_window(*operands)
    operands = list(drawn("latest_burst", 3))
    operands[6] = operands[6].astype(np.int64)
    with pytest.raises(TypeError, match="latest_burst: times must be contiguous int32, got int64"):
        latest_burst(*operands)
