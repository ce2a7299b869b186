"""The documentation tells the truth: its examples run, and print what it says they print.

Numbers with a decimal point may differ in the last digit shown, because float sums are the same on
any number of threads but not on any instruction set. Everything else must be equal.
"""

from __future__ import annotations

import doctest
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import pairtile as pt
from pairtile._definitions.kernels import KERNELS
from pairtile._definitions.metrics import METRICS
from pairtile.app.cli import main
from pairtile.kernels.kernel import kernels_with

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DECIMAL = re.compile(r"-?\d+\.\d*(?:e[+-]?\d+)?")
RESULTS = {
    "ClosestRecord",
    "ColumnDrift",
    "Dedup",
    "DependenceGradient",
    "Drift",
    "DriftOverTime",
    "Encoded",
    "KID",
    "MMDGradient",
    "MMDPower",
    "MaxSimilarity",
    "MaxSliced",
    "NearDuplicates",
    "PRDC",
    "Pairwise",
    "Period",
    "Power",
    "PrecisionRecall",
    "Retrieval",
    "RowDrift",
    "SearchPlan",
    "SimilarityHistogram",
    "ColumnStatistics",
    "SlicedPlan",
    "SteinGradient",
}
# pages whose examples need a package of the group oracles
NEEDS = {"tables.md": "pandas", "torch.md": "torch"}
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def blocks(page, language):
    text = page.read_text(encoding="utf-8")
    return [match[2] for match in BLOCK.finditer(text) if match[1] == language]


def last_digit(number):
    """The value of one unit in the last digit of a decimal number as it is written."""
    mantissa, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def agree(expected, printed):
    """Whether two texts are equal, up to spaces and the last digit of decimal numbers."""
    expected, printed = " ".join(expected.split()), " ".join(printed.split())
    if DECIMAL.sub("#", expected).replace(" ", "") != DECIMAL.sub("#", printed).replace(" ", ""):
        return False
    pairs = zip(DECIMAL.findall(expected), DECIMAL.findall(printed), strict=True)
    return all(abs(float(a) - float(b)) <= 1.01 * last_digit(a) for a, b in pairs)


class Checker(doctest.OutputChecker):
    def check_output(self, want, got, optionflags):
        return super().check_output(want, got, optionflags) or agree(want, got)


def run_examples(text, name, variables):
    found = doctest.DocTestParser().get_doctest(text, variables, name, name, 0)
    log = []
    runner = doctest.DocTestRunner(checker=Checker(), optionflags=doctest.ELLIPSIS)
    runner.run(found, out=log.append, clear_globs=False)
    variables.update(found.globs)
    assert runner.failures == 0, "".join(log)


def page_with_its_needs(page):
    oracle = NEEDS.get(page.name)
    marks = [pytest.mark.oracle(oracle)] if oracle else []
    return pytest.param(page, marks=marks, id=page.name)


@pytest.mark.parametrize("page", [page_with_its_needs(page) for page in PAGES])
def test_examples_in_pages(page):
    variables = {}
    for number, text in enumerate(blocks(page, "python")):
        run_examples(text, f"{page.name}, block {number}", variables)


@pytest.mark.parametrize("name", [n for n in pt.__all__ if ">>>" in (getattr(pt, n).__doc__ or "")])
def test_examples_in_docstrings(name):
    run_examples(getattr(pt, name).__doc__, name, {"pt": pt})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_pages(page, capsys):
    for text in blocks(page, "console"):
        command, _, expected = text.removeprefix("$ ").partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "pairtile"
        main(arguments)
        printed = capsys.readouterr().out
        assert agree(expected, printed), printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    links = [link for link in LINK.findall(text) if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


def test_the_architecture_names_files_that_there_are():
    """But in its recipes, which make their own."""
    text, _, _ = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Rec")
    homes = [ROOT, *(ROOT / folder for folder in ("cpp", "cuda", "python/pairtile"))]
    named = set(re.findall(r"`([\w./]+/[\w.]*)`", text))
    assert len(named) > 30
    for name in named:
        assert any((home / name).exists() or list(home.glob(f"{name}.*")) for home in homes), name


def test_a_release_has_what_an_index_needs():
    """Addresses and absolute links come together; until then an index refuses the package."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert ("urls" in project) != ("Private :: Do Not Upload" in project["classifiers"])
    links = LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert ("urls" in project) == all("://" in link for link in links)


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", text, re.MULTILINE) == [pt.__version__]


def test_the_index_lists_what_there_is():
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(\w+)`", text))
    results = {n for n in pt.__all__ if n.endswith(("Result", "Neighbors", "Test"))}
    assert listed == set(pt.__all__) - results - RESULTS - {"Kernel"}


def test_lists_of_metrics_and_kernels_are_complete():
    pages = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
    for metric in METRICS:
        assert f"\n| `{metric}`" in pages, metric
        assert re.search(rf"^ +(\w+, )*{metric}\b", pt.knn.__doc__, re.MULTILINE), metric
    for kernel in kernels_with("value"):
        assert re.search(rf"^\| `{kernel}\b", pages, re.MULTILINE), kernel


@pytest.mark.native
def test_the_engine_has_what_is_defined():
    from pairtile import _native

    config = _native.build_config()
    assert set(config["metrics"].split()) == set(METRICS)
    assert set(config["kernels"].split()) == set(KERNELS)


def test_the_checker_sees_differences():
    assert agree("0.0677  p = 0.001\n", "0.0678 p = 0.001")
    assert agree("[3.29 1.e-03]", "[3.29  2.e-03]")
    assert not agree("[3.29 1.e-03]", "[3.29 3.e-03]")
    assert not agree("0.0677", "0.0679")
    assert not agree("row 3", "row 4")
    assert not agree("0.5", "0.5 0.5")
    assert not agree("True", "False")
