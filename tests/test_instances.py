"""The readers of instance files, and the command that solves them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import instances
from benchmarks.instance_files import read
from engine.errors import DataError

ROOT = Path(__file__).parents[1]
KHAN = """
 2  2 1
 4
 1
 1.50  1
 7.25  3
 2
 2.00  1
 9.10  2
 Solutions by  somebody
 1  1  10.60
"""
HIREMATH = (
    "1\t2\t2\t1\t\r\n\t4\t\r\n1\t\r\n1\t1\r\n7\t3\r\n2\r\n2\t1\r\n9\t2\r\n"
    "2\t1\t1\t2\r\n\t0\t5\r\n1\r\n3\t1\t0\r\n"
)
GAP = "2 3\n 5 1 4\n 2 2 9\n 1 1 1\n 2 2 2\n 2 2\n"


def files(tmp_path, text, name="file"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def solved(path, layout, capsys, *more):
    assert instances.main([str(path), "--format", layout, "--json", *more]) == 0
    lines = capsys.readouterr().out.splitlines()
    return json.loads(lines[-1])


def test_khan_reads_decimals_exactly_and_leaves_old_solutions(tmp_path):
    (one,) = read(files(tmp_path, KHAN), "khan")
    assert one.unit == 20
    assert one.problem.value.tolist() == [30, 145, 40, 182]
    assert one.problem.use.tolist() == [[1, 3, 1, 2]]
    assert one.problem.group.tolist() == [0, 0, 1, 1]
    assert one.in_file_units(182) == 9.1
    assert one.in_file_units(40) == 2


def test_khan_is_solved_in_its_own_units(tmp_path, capsys):
    found = solved(files(tmp_path, KHAN), "khan", capsys)
    (row,) = found["results"]
    assert (row["value"], row["bound"], row["gap"], row["status"]) == (10.6, 10.6, 0, "OPTIMAL")
    assert row["number"] == 1
    assert "optimum" not in row
    assert (found["solved"], found["problems"]) == (1, 1)
    assert found["machine"]["cores"] >= 1


def test_hiremath_has_several_problems_and_infeasible_ones(tmp_path, capsys):
    path = files(tmp_path, HIREMATH, "set.txt")
    files(tmp_path, "file,number,optimum\nset.txt,1,10\n", "optimal_values.csv")
    one, two = solved(path, "hiremath", capsys)["results"]
    assert (one["number"], one["value"], one["bound"], one["optimum"]) == (1, 10, 10, 10)
    assert (two["number"], two["value"], two["bound"], two["gap"]) == (2, None, None, None)
    assert two["status"] == "INFEASIBLE"


def test_gap_is_minimised(tmp_path, capsys):
    (row,) = solved(files(tmp_path, GAP), "gap", capsys)["results"]
    assert (row["value"], row["bound"], row["status"]) == (7, 7, "OPTIMAL")


@pytest.mark.parametrize("layout,text", [("khan", KHAN), ("hiremath", HIREMATH), ("gap", GAP)])
def test_white_space_does_not_matter(tmp_path, layout, text):
    first = read(files(tmp_path, text), layout)
    if layout == "khan":
        text = text[: text.index("Sol")]
    second = read(files(tmp_path, "\ufeff" + " \n".join(text.split())), layout)
    third = read(files(tmp_path, "\t".join(text.split())), layout)
    for other in (second, third):
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a.problem.value, b.problem.value)
            np.testing.assert_array_equal(a.problem.use, b.problem.use)
            np.testing.assert_array_equal(a.problem.capacity, b.problem.capacity)


def test_groups_may_be_numbered_from_zero(tmp_path):
    (one,) = read(files(tmp_path, "2 1 1 5 0 4 1 1 6 2"), "khan")
    assert one.problem.value.tolist() == [4, 6]


BROKEN = [
    ("khan", "", "line 1, at the end: the file ends; expected the number of groups"),
    ("khan", "0 1 1\n", "line 1, column 1: got 0; expected the number of groups, a whole number "
     "of 1 or more"),
    ("khan", "9999 10 10\n1 2 3", "ask for more numbers than the file has, got 6"),
    ("khan", KHAN.replace("7.25", "seven"), "line 6, column 2: got 'seven'; expected group 1, "
     "item 2: value"),
    ("khan", KHAN.replace("7.25", "nan"), "got 'nan'"),
    ("khan", KHAN.replace("7.25", "1e999"), "got '1e999'"),
    ("khan", KHAN.replace(" 7.25  3", " 7.25  -3"), "got -3; expected group 1, item 2: use 1 of 1"),
    ("khan", KHAN.replace(" 7.25  3\n", ""), "expected the number of group 2"),
    ("khan", KHAN.replace(" 7.25  3", " 7.25  3 8"), "look at line 6, which has 3 numbers"),
    ("khan", KHAN.replace(" 9.10  2", " 9.10  2 8"), "line 9, column 10: got '8'; expected the "
     "end of the line"),
    ("khan", KHAN.replace(" 9.10  2", " 9.10"), "got 'Solutions'; expected group 2, item 2: use"),
    ("hiremath", HIREMATH + "3 1 1\r\n", "the file ends; expected the number of resources"),
    ("hiremath", HIREMATH.replace("3\t1\t0", "3\t1"), "the file ends; expected group 1, item 1"),
    ("gap", GAP + "7", "line 7, column 1: got '7' and 0 more words; expected the end of the file"),
    ("gap", GAP[:-3], "the file ends; expected capacity 2 of 2"),
    ("gap", GAP.replace("2 3\n", "2 3.5\n"), "got 3.5; expected the number of jobs"),
    ("gap", b"2 3\n\xff\xfe", "byte 4: is not text, got 0xff"),
    ("gap", GAP.replace("5 1 4", "5 1 999999999999999999"), "may add up to"),
]  # fmt: skip


@pytest.mark.parametrize("layout,text,message", BROKEN)
def test_a_broken_file_is_refused_with_where_and_what(tmp_path, layout, text, message, capsys):
    path = files(tmp_path, text)
    assert instances.main([str(path), "--format", layout]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{path}: " in said.err
    assert message in said.err


@pytest.mark.parametrize("layout,text", [("khan", KHAN), ("hiremath", HIREMATH), ("gap", GAP)])
def test_a_file_cut_anywhere_is_whole_or_refused_with_its_line(tmp_path, layout, text):
    whole = read(files(tmp_path, text), layout)
    numbers = sum(len(one.problem.value) for one in whole)
    for end in range(len(text)):
        path = files(tmp_path, text[:end])
        try:
            found = read(path, layout)
        except DataError as error:
            assert all(line.startswith(f"{path}: line ") for line in str(error).splitlines())
        else:  # cut between problems, in an old solution, or in the last number
            assert 0 < sum(len(one.problem.value) for one in found) <= numbers


@pytest.mark.parametrize("layout", ["khan", "hiremath", "gap"])
@pytest.mark.parametrize("text", [b"", b"\n\n", b"\xef\xbb\xbf", b"\0\0", b"-1 2 3", b"1e3 2 1"])
def test_an_empty_or_foreign_file_is_one_message_with_its_line(tmp_path, layout, text, capsys):
    path = files(tmp_path, text)
    assert instances.main([str(path), "--format", layout]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"{path}: line ")
    assert instances.main([str(tmp_path), "--format", layout]) == 2
    assert capsys.readouterr().err == f"{tmp_path}: cannot be read: Is a directory\n"


def test_all_problems_of_all_files_are_told(tmp_path, capsys):
    one = files(tmp_path, GAP.replace("5 1 4", "x 1 -y").replace(" 2 2\n", " 2 z\n"), "one")
    code = instances.main([str(one), str(tmp_path / "none"), "--format", "gap"])
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 5  # x, -y, two z, none
    assert "none: cannot be read: No such file" in lines[-1]
    many = files(tmp_path, GAP.replace("2 3", "2 30") + "x " * 120)
    with pytest.raises(DataError, match=r"and \d+ more problems"):
        read(many, "gap")


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_limit_is_a_number_of_seconds(limit, capsys):
    with pytest.raises(SystemExit) as left:
        instances.main(["x", "--format", "gap", "--time-limit", limit])
    assert left.value.code == 2
    assert "expected seconds above 0" in capsys.readouterr().err


def data():
    """Return the folder of real instances, or skip."""
    places = [ROOT / "shared" / "data", ROOT.parent / "shared" / "data"]
    if "WALRAS_DATA" in os.environ:
        places.insert(0, Path(os.environ["WALRAS_DATA"]))
    for place in places:
        if (place / "instances").is_dir():
            return place / "instances"
    pytest.skip(f"NO INSTANCES: set WALRAS_DATA; looked in {', '.join(map(str, places))}")


@pytest.mark.parametrize("layout,name,optimum", [
    ("khan", "mmkp/I01", 173), ("khan", "mmkp/I02", 364), ("khan", "mmkp/I05", 3905.7),
    ("gap", "gap/gap1-12/gap1-0", 261), ("gap", "gap/a-d/c05100", 1931),
    ("hiremath", "mmkp/TestSet1.5GP10IT5KP.txt", 401),
])  # fmt: skip
def test_published_optima_are_proved(layout, name, optimum, capsys):
    rows = solved(data() / name, layout, capsys)["results"]
    assert rows[0]["value"] == optimum
    for row in rows:
        assert row["status"] == "OPTIMAL"
        assert row["value"] == row.get("optimum", row["value"])
    assert ("optimum" in rows[0]) == (layout != "khan")
