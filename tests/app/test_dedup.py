"""`pairtile dedup`: what it reads, prints, writes and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

import pairtile as pt
from files import save
from pairtile.app.cli import main


@pytest.fixture
def rows():
    """60 rows of four features, the last twenty nearly those of the first ones."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 4))
    x[40:] = x[:20] + 0.01 * rng.normal(size=(20, 4))
    return x


def run(*arguments):
    return main(["dedup", *map(str, arguments)])


def refused(capsys, *arguments):
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
def test_formats(tmp_path, rows, suffix, capsys):
    path, out = save(tmp_path / f"x{suffix}", rows), tmp_path / "kept.txt"
    assert run(path, "--threshold", 0.99, "--out", out) == 0
    right = pt.deduplicate(rows, threshold=0.99)
    assert [int(line) for line in out.read_text().splitlines()] == np.flatnonzero(
        right.keep
    ).tolist()
    printed, err = capsys.readouterr()
    assert printed.splitlines() == [
        "60 rows, 4 features",
        f"{len(right.pairs.i)} pairs with cosine ≥ 0.99",
        f"{len(set(right.group))} groups, {sum(np.bincount(right.group) > 1)} of them of more "
        "than one row",
        f"{right.keep.sum()} rows kept, {60 - right.keep.sum()} removed",
    ]
    assert right.keep.sum() <= 40
    assert err == ""


@pytest.mark.parametrize("keep", ["first", "medoid"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product", "manhattan"])
def test_json_is_that_of_the_function(tmp_path, rows, metric, keep, capsys):
    path, out = save(tmp_path / "x.npy", rows), tmp_path / "kept.npy"
    threshold = {"cosine": 0.99, "inner_product": 9.0}.get(metric, 0.1)
    options = ["--metric", metric, "--keep", keep, "--json", "--out", out]
    assert run(path, "--threshold", threshold, *options) == 0
    right = pt.deduplicate(rows, threshold=threshold, metric=metric, keep=keep)
    assert json.loads(capsys.readouterr().out) == {
        "version": pt.__version__,
        "n": 60,
        "kept": right.keep.sum(),
        "removed": 60 - right.keep.sum(),
        "groups": len(set(right.group)),
        "pairs": len(right.pairs.i),
        "threshold": threshold,
        "metric": metric,
        "keep": keep,
    }
    kept = np.load(out)
    assert kept.dtype == np.int64
    np.testing.assert_array_equal(kept, np.flatnonzero(right.keep))


def test_an_array_of_an_archive(tmp_path, rows, capsys):
    path = tmp_path / "x.npz"
    np.savez(path, a=rows, b=rows[:3])
    assert run(path, "--threshold", 0.99, "--key", "b") == 0
    assert "3 rows" in capsys.readouterr().out
    assert "which array? pass --key" in refused(capsys, path, "--threshold", 0.99)
    plain = save(tmp_path / "x.npy", rows)
    said = refused(capsys, plain, "--threshold", 0.99, "--key", "b")
    assert "--key names an array of a .npz file" in said


def test_nothing_to_remove_is_status_0(tmp_path, capsys):
    assert run(save(tmp_path / "x.npy", np.eye(3)), "--threshold", 0.5, "--json") == 0
    assert json.loads(capsys.readouterr().out)["removed"] == 0


def test_bad_input(tmp_path, rows, capsys):
    path = save(tmp_path / "x.npy", rows)
    assert "--threshold must be finite, >= -1, <= 1; got 95" in refused(
        capsys, path, "--threshold", 95
    )
    assert "--threshold must be finite, >= 0" in refused(
        capsys, path, "--threshold", -1, "--metric", "euclidean"
    )
    assert "no.npy" in refused(capsys, tmp_path / "no.npy", "--threshold", 0.9)
    rows[5, 2] = np.nan
    bad = save(tmp_path / "bad.npy", rows)
    said = refused(capsys, bad, "--threshold", 0.9)
    assert "bad.npy" in said
    assert "contains NaN or Inf; the first bad row is 5" in said
    words = tmp_path / "words.csv"
    words.write_text("a,b\n1,x\n2,y\n3,z\n")
    said = refused(capsys, words, "--threshold", 0.9)
    assert "words.csv" in said
    assert "'b'" in said
    nowhere = tmp_path / "nowhere" / "kept.txt"
    assert "--out cannot be written" in refused(capsys, path, "--threshold", 0.9, "--out", nowhere)


@pytest.mark.parametrize(
    "arguments",
    [["x.npy"], ["x.npy", "--threshold", "nan"], ["x.npy", "--threshold", "1", "--metric", "l3"]],
)
def test_arguments_that_do_not_parse(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["dedup", *arguments])
    assert ended.value.code == 2
