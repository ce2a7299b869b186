"""The `pairtile` command: `compare REFERENCE CURRENT`, or `compare --demo`; `dedup FILE`.

    arguments -> io.load, twice -> pair.fit -> compare.compare -> table or JSON, and a page of HTML
    arguments -> io.load -> dedup.deduplicate -> lines or JSON, and a file of row numbers

The exit status of `compare` is the answer: 0 no drift, 1 drift, 4 nothing can be said; that of
`dedup` is 0. 2 is bad input, 3 any other failure, and 130 after Ctrl-C, as shells have it. Reports
go to standard output; messages, notes and the progress bar go to standard error, or nowhere if that
is closed.
"""

from __future__ import annotations

import argparse
import codecs
import csv
import json
import math
import os
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pairtile
from pairtile.app import screen
from pairtile.app.dedup import NAMES as _NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pairtile.app.compare import Comparison, Options
    from pairtile.app.io import Reading
    from pairtile.app.table import Table

NO_DRIFT, DRIFT, BAD_INPUT, FAILURE, UNDECIDED, INTERRUPTED = 0, 1, 2, 3, 4, 130
OK = 0

_TEXTS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_METHODS = (
    "permutation", "random", "wild_bootstrap", "cheap_permutation", "gamma", "spectrum",
)  # fmt: skip
_TESTS = ("energy", "mmd", "aggregated", "sliced")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Returns
    -------
    int
        The exit status.

    Raises
    ------
    SystemExit
        With status 2 on arguments that do not parse, with 0 after ``--help`` and ``--version``.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal without σ, or a file name that is not text, must not end the report.
            stream.reconfigure(errors="backslashreplace")
    parser, compare_parser = _parsers()
    arguments = parser.parse_args(argv)
    if arguments.command == "compare":
        _check(compare_parser, arguments)
    try:
        return _compare(arguments) if arguments.command == "compare" else _dedup(arguments)
    except KeyboardInterrupt:
        _note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader has gone (`| head`)
        _abandon(sys.stdout)
        return FAILURE
    except Exception as error:
        from pairtile._front.extras import MissingExtraError
        from pairtile.app.errors import InputError

        if isinstance(error, InputError):
            _note(str(error))
            return BAD_INPUT
        if not isinstance(error, (MissingExtraError, MemoryError, OSError)):
            _tell(traceback.format_exc())
        _note(str(error) or type(error).__name__)
        if isinstance(error, OSError) and sys.stdout is not None:
            try:
                sys.stdout.flush()
            except OSError:  # it was the report itself that could not be written
                _abandon(sys.stdout)
        return FAILURE


def _abandon(stream: Any) -> None:
    """What is left in the buffer of a stream that nobody takes must not raise again at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _tell(text: str) -> None:
    """Write to standard error, if there is one and somebody reads it; never to standard output."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            _abandon(sys.stderr)


def _note(message: str) -> None:
    _tell(f"pairtile: {message}\n")


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(
        prog="pairtile", description="Exact all-pairs statistics on two point sets."
    )
    version = f"pairtile {pairtile.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compare = commands.add_parser(
        "compare",
        help="test whether two tables come from one distribution",
        description=(
            "Test whether the rows of CURRENT come from the distribution of the rows of REFERENCE, "
            "and show which columns and which rows of CURRENT say not. Columns are matched by "
            "name. Drift: the smaller Holm-adjusted p-value of the MMD and the energy test is at "
            "most alpha, or the p-value of --test."
        ),
        epilog=(
            "Exit status: 0 no drift, 1 drift, 4 nothing can be said (too few rows), 2 bad input, "
            "3 any other failure. With --demo: 0 if the demo comes out as it says, 3 if not."
        ),
    )
    compare.add_argument("--version", action="version", version=version)
    compare.add_argument(
        "reference",
        nargs="?",
        metavar="REFERENCE",
        help=".npy, .npz, .csv, .tsv, .csv.gz, .tsv.gz or .parquet file, rows × features",
    )
    compare.add_argument("current", nargs="?", metavar="CURRENT", help="the same, the new rows")
    _add_output(compare.add_argument_group("output"))
    _add_test(compare.add_argument_group("test"))
    _add_reading(compare.add_argument_group("reading of files"))
    _add_dedup(commands, version)
    return parser, compare


def _add_dedup(commands: Any, version: str) -> None:
    dedup = commands.add_parser(
        "dedup",
        help="find near-duplicates in a table of numbers",
        description=(
            "Find all pairs of rows of FILE that are at least as alike as a threshold, and which "
            "rows to keep so that no two of them are."
        ),
        epilog="Exit status: 0 when it ran, 2 bad input, 3 any other failure.",
    )
    dedup.add_argument("--version", action="version", version=version)
    dedup.add_argument(
        "file",
        metavar="FILE",
        help=".npy, .npz, .csv, .tsv, .csv.gz, .tsv.gz or .parquet file, rows × features",
    )
    dedup.add_argument(
        "--threshold",
        type=_number(float, "a number", math.isfinite),
        required=True,
        metavar="T",
        help="the least similarity for cosine and inner_product, else the largest distance",
    )
    dedup.add_argument(
        "--metric",
        choices=_NAMES,
        default="cosine",
        metavar="M",
        help=f"one of {', '.join(_NAMES)} (default %(default)s)",
    )
    dedup.add_argument(
        "--keep",
        choices=("first", "medoid"),
        default="first",
        help="which rows: in their order those that no kept one before is near to, or the most "
        "central row of each group (default %(default)s)",
    )
    dedup.add_argument("--key", metavar="K", help="name of the array in a .npz file")
    dedup.add_argument(
        "--out",
        metavar="FILE",
        help="write the numbers of the rows to keep to this file, one a line, or as an array if "
        "it ends in .npy; rows are counted from 0",
    )
    dedup.add_argument("--json", action="store_true", help="print JSON in place of lines")


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--demo",
        action="store_true",
        help="run on two halves of scikit-learn's handwritten digits instead of two files",
    )
    group.add_argument("--json", action="store_true", help="print JSON in place of the table")
    group.add_argument("--html", metavar="FILE", help="write a report with pictures to this file")


def _add_test(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--test",
        choices=_TESTS,
        help="decide by this test alone (default: by energy and MMD together)",
    )
    group.add_argument(
        "--method",
        choices=_METHODS,
        help="null distribution of the energy and MMD tests (default: permutation up to 5,000 "
        "rows of both files together, cheap_permutation above)",
    )
    group.add_argument(
        "--permutations",
        type=_number(int, "a whole number, 1 or more", lambda n: n >= 1),
        default=999,
        metavar="B",
        help="random relabellings per test (default %(default)s)",
    )
    group.add_argument(
        "--rng",
        type=_number(int, "a whole number, 0 or more", lambda n: n >= 0),
        default=0,
        metavar="SEED",
        help="seed of every random choice (default %(default)s)",
    )
    group.add_argument(
        "--alpha",
        type=_number(float, "a number between 0 and 1", lambda a: 0 < a < 1),
        default=0.05,
        metavar="A",
        help="level of the test (default %(default)s)",
    )
    group.add_argument(
        "--max-rows",
        type=_number(int, "a whole number, 2 or more", lambda n: n >= 2),
        default=20_000,
        metavar="N",
        help="compare at most so many random rows of each file (default %(default)s)",
    )
    group.add_argument(
        "--missing",
        choices=("indicator", "drop", "raise"),
        default="indicator",
        help="missing values: a column that says where, rows left out, or an error "
        "(default %(default)s)",
    )
    group.add_argument(
        "--standardize",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="centre each column and divide it by its standard deviation, both over all rows "
        "(default: if scales differ by more than ten times)",
    )


def _add_reading(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--columns", type=_names, metavar="A,B", help="compare these columns and no others"
    )
    group.add_argument("--drop", type=_names, metavar="A,B", help="leave these columns out")
    group.add_argument("--key", metavar="K", help="name of the array in .npz files")
    group.add_argument("--key-reference", metavar="K", help="the same, of REFERENCE alone")
    group.add_argument("--key-current", metavar="K", help="the same, of CURRENT alone")
    group.add_argument(
        "--sep",
        type=_separator,
        metavar="S",
        help="what separates the fields of text files, one character or the word tab "
        "(default: found by itself)",
    )
    group.add_argument(
        "--decimal",
        choices=(".", ","),
        metavar="D",
        help="what begins the fraction of a number in text files (default: found by itself)",
    )
    group.add_argument(
        "--encoding",
        type=_encoding,
        metavar="E",
        help="of text files (default: what their byte order mark says, or utf-8)",
    )


def _number(
    convert: Callable[[str], Any], wanted: str, allowed: Callable[[Any], bool]
) -> Callable[[str], Any]:
    """An argparse type: a number within bounds, or a message that says which."""

    def parse(text: str) -> Any:
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not allowed(value):
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
        return value

    return parse


def _names(text: str) -> list[str]:
    """Names separated by commas, quoted if there are commas in them."""
    names = next(csv.reader([text], skipinitialspace=True), [])
    if not names:
        raise argparse.ArgumentTypeError(f"expected names separated by commas, got {text!r}")
    return names


def _separator(text: str) -> str:
    sep = {"tab": "\t", "\\t": "\t"}.get(text.lower(), text)
    if len(sep) != 1 or sep in '"\r\n' or sep.isalnum():
        raise argparse.ArgumentTypeError(
            f"expected one character, no letter, digit or quote, or the word tab; got {text!r}"
        )
    return sep


def _encoding(text: str) -> str:
    try:
        codecs.lookup(text)
        "".encode(text)  # "base64" is a codec too
    except (LookupError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"expected an encoding of text that Python knows, such as cp1252, got {text!r}"
        ) from error
    return text


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse combinations argparse has no words for."""
    files = [path for path in (arguments.reference, arguments.current) if path is not None]
    keys = {
        "--key": (arguments.key, files),
        "--key-reference": (arguments.key_reference, files[:1]),
        "--key-current": (arguments.key_current, files[1:]),
    }
    given = [option for option, (key, _) in keys.items() if key is not None]
    of_texts = {name: getattr(arguments, name) for name in ("sep", "decimal", "encoding")}
    given_of_texts = [f"--{name}" for name, value in of_texts.items() if value is not None]
    if arguments.demo:
        chosen = [f"--{name}" for name in ("columns", "drop", "html") if getattr(arguments, name)]
        if files or given or given_of_texts or chosen:
            more = ", ".join([*given, *given_of_texts, *chosen]) or "--key"
            parser.error(f"--demo brings its own data: no files and no {more} with it")
        return
    if len(files) < 2:
        parser.error("REFERENCE and CURRENT are required, or --demo")
    for option in given:
        if not any(path.lower().endswith(".npz") for path in keys[option][1]):
            whose = "neither file is one" if option == "--key" else "that file is none"
            parser.error(f"{option} names an array of a .npz file, and {whose}")
    if given_of_texts and not any(path.lower().endswith(_TEXTS) for path in files):
        parser.error(f"{given_of_texts[0]} is for text files, and neither file is one")
    if arguments.method is not None and arguments.test in ("aggregated", "sliced"):
        parser.error(f"--method is for the tests of energy and MMD, not for {arguments.test}")
    if arguments.sep is not None and arguments.sep == arguments.decimal:
        parser.error("--sep and --decimal cannot be the same")


def _dedup(arguments: argparse.Namespace) -> int:
    from pairtile.app import dedup
    from pairtile.app.errors import InputError
    from pairtile.app.io import Reading, load

    if arguments.key is not None and not arguments.file.lower().endswith(".npz"):
        raise InputError("--key names an array of a .npz file, and FILE is none")
    table = load(arguments.file, Reading(arguments.key))
    for note in table.notes:
        _note(note)
    options = dedup.Options(arguments.threshold, arguments.metric, arguments.keep)
    result = dedup.deduplicate(table, options)
    if arguments.out is not None:
        result.write(arguments.out)
    if arguments.json:
        print(json.dumps(result.as_json(), indent=2, allow_nan=False), flush=True)
    else:
        print(result.report(), flush=True)
    return OK


def _compare(arguments: argparse.Namespace) -> int:
    from pairtile.app.compare import Options

    options = Options(
        n_permutations=arguments.permutations,
        rng=arguments.rng,
        alpha=arguments.alpha,
        max_rows=arguments.max_rows,
        standardize=arguments.standardize,
        test=arguments.test,
        method=arguments.method,
        missing=arguments.missing,
    )
    if options.too_few_permutations:
        _note(options.too_few_permutations)
    if arguments.demo:
        return _run_demo(options, arguments.json)
    return _run_files(arguments, options)


def _readings(arguments: argparse.Namespace) -> list[Reading]:
    from pairtile.app.io import Reading

    return [
        Reading(own or arguments.key, arguments.sep, arguments.decimal, arguments.encoding)
        for own in (arguments.key_reference, arguments.key_current)
    ]


def _run_files(arguments: argparse.Namespace, options: Options) -> int:
    from pairtile.app import pair
    from pairtile.app.compare import compare
    from pairtile.app.io import load

    of_reference, of_current = _readings(arguments)
    reference = load(arguments.reference, of_reference)
    current = load(arguments.current, of_current)
    notes = [*reference.notes, *current.notes]
    choice = pair.Choice(arguments.columns, arguments.drop)
    reference, current, more = pair.fit(
        reference, current, choice, missing=options.missing != "raise"
    )
    notes += more
    for note in [*notes, *_subsample(reference, options), *_subsample(current, options)]:
        _note(note)
    result = compare(reference, current, options, notes)
    if arguments.html is not None:
        _write_page(result, arguments.html)
    if arguments.json:
        print(json.dumps(result.as_json(), indent=2, allow_nan=False), flush=True)
    else:
        print(screen.report(result), flush=True)
    return UNDECIDED if result.undecided else DRIFT if result.drift else NO_DRIFT


def _write_page(result: Comparison, path: str) -> None:
    from pairtile.app.errors import InputError

    page = result.as_drift()
    try:
        page.to_html(path)
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror or error}, so --html cannot be written"
        ) from error


def _run_demo(options: Options, as_json: bool) -> int:
    from pairtile.app import demo
    from pairtile.app.compare import compare

    reference, current, worse = demo.tables()
    if options.standardize is None:
        options = replace(options, standardize=False)  # pixels have one unit
    for note in [*_subsample(reference, options), *_subsample(current, options)]:
        _note(note)
    if not as_json:
        print("Handwritten digits, one half of the images against the other\n", flush=True)
    same_sensor = compare(reference, current, options)
    if not as_json:
        print(screen.report(same_sensor), flush=True)
        print("\n\nThe same, the other half seen through a worse sensor\n", flush=True)
    worse_sensor = compare(reference, worse, options)
    if as_json:
        both = {
            "same_sensor": same_sensor.as_json(),
            "worse_sensor": worse_sensor.as_json(),
        }
        print(json.dumps(both, indent=2, allow_nan=False), flush=True)
    else:
        print(screen.report(worse_sensor), flush=True)
    if same_sensor.drift or not worse_sensor.drift:
        _note("expected no drift, then drift: the demo did not come out as it should")
        return FAILURE
    return NO_DRIFT


def _subsample(table: Table, options: Options) -> list[str]:
    if table.rows <= options.max_rows:
        return []
    return [f"{table.path}: comparing {options.max_rows} random rows of {table.rows} (--max-rows)"]
