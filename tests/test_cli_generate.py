"""The command generate: a new folder is filled whole, or the place is refused."""

import json

import pytest

from jobs import synthetic
from tests.test_cli import walras


def test_of_two_that_generate_into_one_folder_the_second_is_told(tmp_path, monkeypatch):
    generate, folder = synthetic.generate, tmp_path / "operator"

    def overtaken(temporary, subscribers, days, seed, tasks):
        made = generate(temporary, subscribers, days, seed, tasks)
        generate(folder, subscribers, days, seed + 1, tasks)
        return made

    monkeypatch.setattr(synthetic, "generate", overtaken)
    result = walras("generate", "--subscribers", 30, "--days", 5, "--out", folder, "--quiet")
    assert result.exit_code == 2 and result.stdout == ""
    said = f"error: --out: another process has filled {folder} meanwhile; give another\n"
    assert result.stderr == said
    assert [path.name for path in tmp_path.iterdir()] == ["operator"]


def test_generate_fills_a_new_folder_whole(tmp_path):
    folder = tmp_path / "deep" / "operator"
    made = walras("generate", "--subscribers", 30, "--days", 5, "--out", folder, "--json")
    assert made.exit_code == 0 and json.loads(made.stdout)["folder"] == str(folder)
    assert {"subscribers", "usage", "contacts"} <= {path.name for path in folder.iterdir()}
    assert [path.name for path in folder.parent.iterdir()] == ["operator"]
    again = walras("generate", "--subscribers", 30, "--out", folder)
    assert again.exit_code == 2 and "is there and is not empty" in again.stderr


@pytest.mark.parametrize(
    ("leads_to", "said"),
    [
        ("new", None),
        ("empty", None),
        ("deep/new", None),
        ("full", "is there and is not empty"),
        ("file", "is there and is not empty"),
        ("out", "is there and is not empty"),  # itself
        ("file/below", "the folder cannot be made (File exists)"),
    ],
)
def test_generate_follows_a_link_or_refuses_it(tmp_path, leads_to, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    (tmp_path / "file").write_text("")
    out = tmp_path / "out"
    out.symlink_to(tmp_path / leads_to)
    result = walras("generate", "--subscribers", 30, "--days", 5, "--out", out, "--quiet")
    if said is None:
        assert (result.exit_code, result.stdout) == (0, f"generated: {out}\n")
        assert (out / "subscribers").is_dir() and out.is_symlink()
        assert not list(tmp_path.rglob(".tmp-*"))
    else:
        assert result.exit_code == 2
        assert result.stderr.startswith("error: --out: ") and said in result.stderr
        assert f"got {out}" in result.stderr
        assert {path.name for path in tmp_path.iterdir()} == {"empty", "full", "file", "out"}


@pytest.mark.parametrize("place", ["file/out", "x" * 300])
def test_generate_refuses_a_place_where_no_folder_can_be(tmp_path, place):
    (tmp_path / "file").write_text("")
    result = walras("generate", "--out", tmp_path / place)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --out: the folder cannot be made (")
