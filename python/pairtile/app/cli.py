"""The `pairtile` command: `pairtile compare REFERENCE CURRENT`, or `--demo`.

    arguments -> io.load_table, twice (or demo.tables) -> compare.compare -> table or JSON

The exit status is the answer: 0 no drift, 1 drift, 2 bad input, 3 any other failure, and 130 after
Ctrl-C, as shells have it. The report goes to standard output; messages and the progress bar, which
is drawn on a terminal only, go to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pairtile.app.compare import Comparison, Options
    from pairtile.app.io import Table

NO_DRIFT, DRIFT, BAD_INPUT, FAILURE, INTERRUPTED = 0, 1, 2, 3, 130


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
        With status 2 on arguments that do not parse, with 0 after ``--help``.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal without σ, or a file name that is not text, must not end the report.
            stream.reconfigure(errors="backslashreplace")
    parser, compare_parser = _parsers()
    arguments = parser.parse_args(argv)
    _check(compare_parser, arguments)
    try:
        return _compare(arguments)
    except KeyboardInterrupt:
        print("pairtile: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`). What is left in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except Exception as error:
        from pairtile._front.extras import MissingExtraError
        from pairtile.app.io import InputError

        if isinstance(error, InputError):
            print(f"pairtile: {error}", file=sys.stderr)
            return BAD_INPUT
        if not isinstance(error, (MissingExtraError, MemoryError)):
            traceback.print_exc()
        print(f"pairtile: {str(error) or type(error).__name__}", file=sys.stderr)
        return FAILURE


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(
        prog="pairtile", description="Exact all-pairs statistics on two point sets."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compare = commands.add_parser(
        "compare",
        help="test whether two tables come from one distribution",
        description=(
            "Test whether the rows of CURRENT come from the distribution of the rows of REFERENCE, "
            "and show which rows of CURRENT say not. Drift: the smaller Holm-adjusted p-value of "
            "the MMD and the energy test is at most alpha."
        ),
        epilog=(
            "Exit status: 0 no drift, 1 drift, 2 bad input, 3 any other failure. "
            "With --demo: 0 if the demo comes out as it says, 3 if not."
        ),
    )
    compare.add_argument(
        "reference",
        nargs="?",
        metavar="REFERENCE",
        help=".npy, .npz, .csv or .parquet file, rows × features",
    )
    compare.add_argument("current", nargs="?", metavar="CURRENT", help="the same, the new rows")
    compare.add_argument(
        "--demo",
        action="store_true",
        help="run on two halves of scikit-learn's handwritten digits instead of two files",
    )
    compare.add_argument("--json", action="store_true", help="print JSON in place of the table")
    compare.add_argument(
        "--permutations",
        type=_number(int, "a whole number, 1 or more", lambda n: n >= 1),
        default=999,
        metavar="B",
        help="random relabellings per test (default %(default)s)",
    )
    compare.add_argument(
        "--rng",
        type=_number(int, "a whole number, 0 or more", lambda n: n >= 0),
        default=0,
        metavar="SEED",
        help="seed of every random choice (default %(default)s)",
    )
    compare.add_argument(
        "--alpha",
        type=_number(float, "a number between 0 and 1", lambda a: 0 < a < 1),
        default=0.05,
        metavar="A",
        help="level of the test (default %(default)s)",
    )
    compare.add_argument(
        "--max-rows",
        type=_number(int, "a whole number, 2 or more", lambda n: n >= 2),
        default=20_000,
        metavar="N",
        help="compare at most so many random rows of each file (default %(default)s)",
    )
    compare.add_argument("--key", metavar="K", help="name of the array in .npz files")
    compare.add_argument(
        "--standardize",
        action="store_true",
        help="centre each column and divide it by its standard deviation, both over all rows",
    )
    return parser, compare


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


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse combinations argparse has no words for."""
    files = [path for path in (arguments.reference, arguments.current) if path is not None]
    if arguments.demo and (files or arguments.key is not None):
        parser.error("--demo brings its own data: no files and no --key with it")
    if not arguments.demo and len(files) < 2:
        parser.error("REFERENCE and CURRENT are required, or --demo")
    if arguments.key is not None and not any(path.lower().endswith(".npz") for path in files):
        parser.error("--key names an array of a .npz file, and neither file is one")


def _compare(arguments: argparse.Namespace) -> int:
    from pairtile.app.compare import Options

    options = Options(
        n_permutations=arguments.permutations,
        rng=arguments.rng,
        alpha=arguments.alpha,
        max_rows=arguments.max_rows,
        standardize=arguments.standardize,
    )
    smallest = 2 / (1 + options.n_permutations)
    if smallest > options.alpha:
        _note(
            f"{options.n_permutations} permutations give no adjusted p-value below {smallest:.3g}, "
            f"which is above alpha {options.alpha:g}: drift cannot be found"
        )
    if arguments.demo:
        return _run_demo(options, arguments.json)
    return _run_files(arguments, options)


def _run_files(arguments: argparse.Namespace, options: Options) -> int:
    from pairtile.app.compare import compare
    from pairtile.app.io import load_table

    tables = [load_table(path, arguments.key) for path in (arguments.reference, arguments.current)]
    for path, table in zip((arguments.reference, arguments.current), tables, strict=True):
        _announce_subsample(path, table, options)
    result = compare(tables[0], tables[1], options)
    if arguments.json:
        print(json.dumps(result.as_json(), indent=2, allow_nan=False), flush=True)
    else:
        print(_report(result), flush=True)
    return DRIFT if result.drift else NO_DRIFT


def _run_demo(options: Options, as_json: bool) -> int:
    from pairtile.app import demo
    from pairtile.app.compare import compare

    reference, current, worse = demo.tables()
    _announce_subsample("first half", reference, options)
    _announce_subsample("other half", current, options)
    if not as_json:
        print("Handwritten digits, one half of the images against the other\n", flush=True)
    same_sensor = compare(reference, current, options)
    if not as_json:
        print(_report(same_sensor), flush=True)
        print("\n\nThe same, the other half seen through a worse sensor\n", flush=True)
    worse_sensor = compare(reference, worse, options)
    if as_json:
        both = {
            "same_sensor": same_sensor.as_json(),
            "worse_sensor": worse_sensor.as_json(),
        }
        print(json.dumps(both, indent=2, allow_nan=False), flush=True)
    else:
        print(_report(worse_sensor), flush=True)
    if same_sensor.drift or not worse_sensor.drift:
        _note("expected no drift, then drift: the demo did not come out as it should")
        return FAILURE
    return NO_DRIFT


def _announce_subsample(name: str, table: Table, options: Options) -> None:
    if len(table.values) > options.max_rows:
        _note(
            f"{name}: comparing {options.max_rows} random rows of {len(table.values)} (--max-rows)"
        )


def _note(message: str) -> None:
    print(f"pairtile: {message}", file=sys.stderr, flush=True)


def _report(result: Comparison) -> str:
    """The table a person reads."""
    sliced = f"{result.sliced_wasserstein:.4g} ± {result.sliced_wasserstein_error:.2g}"
    lines = [
        f"{result.n_reference} reference rows, {result.n_current} current rows, "
        f"{result.d} {'feature' if result.d == 1 else 'features'}",
        "",
        f"{'':<22}{'statistic':<20}p-value",
        f"{'MMD²':<22}{result.mmd:<20.4g}{result.mmd_pvalue:.3g}"
        f"    Gaussian kernel, σ = {result.sigma:.4g}",
        f"{'energy distance':<22}{result.energy:<20.4g}{result.energy_pvalue:.3g}",
        f"{'sliced Wasserstein':<22}{sliced:<31}± standard error over directions",
    ]
    if result.prdc is not None:
        lines += [f"{name:<22}{value:.4g}" for name, value in result.prdc.items()]
    verdict, sign = ("DRIFT", "≤") if result.drift else ("no drift", ">")
    lines += [
        "",
        f"{verdict}: Holm-adjusted p-value {result.adjusted_pvalue:.3g} "
        f"{sign} alpha {result.alpha:g}",
        "",
        "rows of CURRENT that drifted most",
        f"{'row':>12}{'witness':>14}",
    ]
    lines += [f"{index:>12}{value:>14.4g}" for index, value in result.top_rows]
    return "\n".join(lines)
