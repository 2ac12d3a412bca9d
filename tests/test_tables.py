"""Tables: what is written is read, kinds, and hashes that never change."""

import os
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine import tables

ROOT = Path(__file__).parents[1]
FRAME = pd.DataFrame(
    {
        "whole": pd.Series([1, 2, 3]),
        "real": [0.5, None, 1.5],
        "text": pd.Series(["a", None, ""], dtype="str"),
        "flag": pd.Series([True, None, False], dtype="boolean"),
        "instant": pd.to_datetime(pd.Series(["2026-01-01", None, "2026-03-01"])),
        "zoned": pd.to_datetime(pd.Series(["2026-01-01", None, "2026-03-01"]), utc=True),
        "label": pd.Categorical(["x", None, "y"]),
    }
)
KINDS = {
    "whole": "number", "real": "number", "text": "text", "flag": "boolean", "instant": "instant",
    "zoned": "instant", "label": "text",
}  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_what_is_written_is_read(tmp_path, size):
    path = tmp_path / "part.parquet"
    frame = FRAME.iloc[:size]
    tables.write(frame, path)
    found = tables.read(path)
    text = {"label": "str"}  # categories that no row has are not kept
    pd.testing.assert_frame_equal(found.astype(text), frame.astype(text))
    assert tables.schema(found) == KINDS
    assert list(tables.read(path, ["text", "whole"]).columns) == ["text", "whole"]
    assert [p.name for p in tmp_path.iterdir()] == ["part.parquet"]


def test_a_foreign_file_is_read_by_its_own_types(tmp_path):
    path = tmp_path / "foreign.parquet"
    columns = {
        "flag": pa.array([None, None], pa.bool_()),
        "day": pa.array([date(2026, 1, 1), None]),
        "price": pa.array([Decimal("1.50"), None]),
        "tags": pa.array([["a"], None]),
        "blob": pa.array([b"a", None]),
    }
    pq.write_table(pa.table(columns), path)
    kinds = tables.schema(tables.read(path))
    assert kinds == {"flag": "boolean", "day": "instant", "price": "number"}


def test_a_failed_write_leaves_nothing_and_keeps_what_was_there(tmp_path):
    path = tmp_path / "part.parquet"
    tables.write(FRAME, path)
    before = path.read_bytes()
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        tables.write(pd.DataFrame({"x": [1, "a"]}), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["part.parquet"]


@pytest.mark.parametrize(
    ("series", "kind"),
    [
        (pd.Series([1], dtype="uint8"), "number"), (pd.Series([1], dtype="Int64"), "number"),
        (pd.Series([True]), "boolean"), (pd.Series([True, None], dtype="object"), "boolean"),
        (pd.Series(["a", None], dtype="object"), "text"), (pd.Series([], dtype="object"), "text"),
        (pd.Series([Decimal(1), None]), "number"), (pd.Series([date(2026, 1, 1)]), "instant"),
        (pd.Series([1, 2], dtype="category"), "number"), (pd.Series([[1]]), None),
        (pd.Series([b"a"]), None), (pd.Series(["a", 1], dtype="object"), None),
        (pd.Series(pd.to_timedelta(["1D"])), None), (pd.Series([1j]), None),
    ],
)  # fmt: skip
def test_kind_of_a_column(series, kind):
    assert tables.schema(pd.DataFrame({"x": series})) == ({"x": kind} if kind else {})


def test_arrays_are_contiguous_and_know_null():
    frame = pd.DataFrame(np.arange(6.0).reshape(2, 3), columns=list("abc"))
    found = tables.array(frame["b"])
    assert found.flags.c_contiguous and found.tolist() == [1.0, 4.0]
    assert tables.array(pd.Series([1, 2], dtype="int32")).dtype == "int32"
    nulls = tables.array(pd.Series([1, None], dtype="Int64"))
    assert nulls.dtype == "float64" and nulls[0] == 1 and np.isnan(nulls[1])
    assert tables.array(pd.Series([1, 2], dtype="Int64")).dtype == "int64"
    assert tables.array(pd.Series([True, False], dtype="boolean")).dtype == "bool"
    with pytest.raises(TypeError, match="column x: a boolean column with nulls"):
        tables.array(pd.Series([True, None], dtype="boolean", name="x"))


@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_a_text_column_can_be_read_as_categories(tmp_path, size):
    path = tmp_path / "part.parquet"
    texts = ["b", "a", "b", "", "a"][:size]
    tables.write(pd.DataFrame({"kind": pd.Series(texts, dtype="str"), "n": range(size)}), path)
    found = tables.read(path, ["n", "kind"], coded=["kind"])
    assert tables.schema(found) == {"n": "number", "kind": "text"}
    assert str(found["kind"].dtype) == "category" and found["kind"].tolist() == texts
    codes, categories = tables.coded(found["kind"])
    assert categories.dtype == "str" and [categories[c] for c in codes.tolist()] == texts
    assert len(set(categories)) == len(categories) == len(set(texts))
    assert tables.coded(found["n"]) is tables.coded(tables.read(path)["kind"]) is None


def test_a_column_with_nulls_has_no_codes(tmp_path):
    path = tmp_path / "part.parquet"
    tables.write(pd.DataFrame({"kind": pd.Series(["b", None, "b"], dtype="str")}), path)
    found = tables.read(path, coded=["kind"])["kind"]
    assert str(found.dtype) == "category" and found.isna().tolist() == [False, True, False]
    assert tables.coded(found) is None


def test_frame_and_concat_stay_on_the_side_they_are_given():
    one = tables.frame({"a": np.array([1, 2])}, FRAME)
    both = tables.concat([one, one.iloc[:0], one])
    assert both["a"].tolist() == [1, 2, 1, 2] and both.index.tolist() == [0, 1, 2, 3]


KEYS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2), max_size=8)


def scramble(word):
    """SplitMix64's output for the state ``word``, as published."""
    word = (word + 0x9E3779B97F4A7C15) % 2**64
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


@given(keys=KEYS, partitions=st.integers(1, 70_000), seed=st.integers(0, 2**70))
def test_hashes_of_whole_numbers_are_splitmix64(keys, partitions, seed):
    series = pd.Series(keys, dtype="int64", index=range(3, 3 + len(keys)))
    expected = [scramble(key % 2**64) % partitions for key in keys]
    assert tables.bucket(series, partitions).tolist() == expected
    assert tables.bucket(series, partitions).dtype == "int64"
    drawn = [
        (scramble(scramble(key % 2**64) ^ scramble(seed % 2**64)) >> 11) / 2**53 for key in keys
    ]
    assert tables.unit_hash(series, seed).tolist() == drawn
    assert tables.unit_hash(series.to_numpy(), seed).tolist() == drawn


@settings(max_examples=50)
@given(
    keys=st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=8),
    order=st.randoms(),
)
@example(keys=["", "\0", "a\0b", "a\0c"], order=Random(1))
def test_a_text_key_hashes_alike_wherever_it_stands(keys, order):
    series = pd.Series(keys, dtype="str")
    bucket, unit = tables.bucket(series, 97), tables.unit_hash(series, 7)
    assert len(bucket) == len(keys) and ((unit >= 0) & (unit < 1)).all()
    places = list(range(len(keys)))
    order.shuffle(places)
    moved = series.iloc[places]
    assert (tables.bucket(moved, 97) == bucket[places]).all()
    assert (tables.unit_hash(moved, 7) == unit[places]).all()
    for at in places:
        one = pd.Series([keys[at]], dtype="object")
        assert tables.bucket(one, 97)[0] == bucket[at]
        assert tables.bucket(one.astype("category"), 97)[0] == bucket[at]


def test_hashes_are_the_same_in_every_process_and_version():
    code = (
        "import pandas as pd; from engine import tables; k = pd.Series(['a', 'b', 'ü']);"
        "n = pd.Series([1, 2, 10**12]); print(tables.bucket(k, 1000).tolist(),"
        "tables.bucket(n, 1000).tolist(), (tables.unit_hash(k, 7) * 1e6).astype(int).tolist(),"
        "(tables.unit_hash(n, 7, k) * 1e6).astype(int).tolist())"
    )
    for seed in ("0", "1"):
        found = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert found.stdout.strip() == STORED


STORED = "[146, 463, 394] [465, 110, 224] [816782, 319731, 313303] [85635, 266691, 192329]"


def test_a_column_of_several_keys_and_seeds_draws_evenly():
    keys = pd.Series(np.arange(20_000))
    draws = [
        tables.unit_hash(keys, 7), tables.unit_hash(keys, 8), tables.unit_hash(keys, 7, keys),
        tables.bucket(keys, 1_000) / 1_000 + 0.0005,
    ]  # fmt: skip
    for draw in draws:  # the mean of 20,000 uniform draws: 0.5 +- 5 * 0.29 / sqrt(20,000)
        assert abs(draw.mean() - 0.5) < 0.0103
        assert np.bincount((draw * 10).astype(int), minlength=10).min() > 1_800
    for one, other in ((0, 1), (0, 2), (0, 3), (1, 2)):  # five deviations of a correlation of 0
        assert abs(np.corrcoef(draws[one], draws[other])[0, 1]) < 5 / np.sqrt(20_000)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (pd.Series([1.5]), "whole numbers or text, got float64"),
        (pd.Series([True]), "whole numbers or text, got bool"),
        (pd.Series(["a", None]), "must not be null"),
        (pd.Series([1, None], dtype="Int64"), "must not be null"),
        (pd.Series(["a", 1], dtype="object"), "whole numbers or text"),
    ],
)
def test_other_keys_are_refused(keys, message):
    with pytest.raises(TypeError, match=message):
        tables.bucket(keys, 4)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", [False, True, False, False]), ("%", [True, True, False, True]),
        ("a_", [True, False, False, False]), ("%\n", [True, False, False, False]),
        ("\\%", [False, False, False, True]), (".", [False, False, False, False]),
    ],
)  # fmt: skip
def test_like_matches_the_whole_text(pattern, expected):
    series = pd.Series(["a\n", "", None, "\\x"], index=[3, 2, 1, 0])
    found = tables.like(series, pattern)
    assert found.tolist() == expected and found.index.tolist() == [3, 2, 1, 0]


def test_values_and_columns_are_inverse():
    for name, kind in KINDS.items():
        found, values = tables.values(FRAME[name])
        assert found == kind
        back = tables.column(values, kind, FRAME)
        expected = FRAME[name]
        if kind == "instant":
            expected = pd.to_datetime(expected, utc=True).dt.tz_localize(None)
        assert back.isna().tolist() == expected.isna().tolist()
        assert back.dropna().tolist() == expected.dropna().tolist()
    assert tables.values(pd.Series([None], dtype="object")) == (None, None)
    with pytest.raises(TypeError, match="column x: no number"):
        tables.values(pd.Series([[1]], name="x"))
