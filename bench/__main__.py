"""The command `python -m bench`: choose cases, run them, print tables or JSON."""

import argparse
import json
import sys
from pathlib import Path
from typing import TextIO

from bench import footprint, report, summary
from bench.case import Case
from bench.cases import CASES, FAMILIES
from bench.harness import Outcome, Ring, Settings
from bench.peers import DISTRIBUTIONS

PICTURES = Path(__file__).parents[1] / "docs"


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    result.add_argument("family", choices=[*FAMILIES, "footprint", "all"])
    result.add_argument("--repeat", type=int, default=5, help="timed calls each, at most (5)")
    result.add_argument(
        "--patience",
        type=float,
        default=5.0,
        help="seconds of timed calls after which it is enough (5)",
    )
    result.add_argument("--threads", type=int, default=2, help="for every contender (default 2)")
    result.add_argument(
        "--scale", type=float, default=1.0, help="factor on the numbers of rows, for trial runs"
    )
    result.add_argument("--large", action="store_true", help="also the cases of minutes per call")
    result.add_argument("--case", default="", help="only cases whose title contains this text")
    result.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME=VALUE,…",
        help="only cases of these sizes, such as d=16,64 k=10 shape=self",
    )
    result.add_argument("--contenders", help="only these, separated by commas")
    result.add_argument(
        "--timeout", type=float, default=600.0, help="seconds before a call is given up (600)"
    )
    result.add_argument(
        "--json", metavar="FILE", help="write everything measured to FILE, or - for standard output"
    )
    result.add_argument("--markdown", metavar="FILE", help="write the summary table to FILE")
    result.add_argument(
        "--plot",
        nargs="?",
        const="",
        metavar="FILE",
        help="draw the neighbour cases (docs/knn.svg) or the losses (docs/contrastive.svg)",
    )
    result.add_argument(
        "--saved", nargs="+", metavar="FILE", help="measure nothing; summarise these JSON files"
    )
    return result


def selects(only: list[str], case: Case) -> bool:
    """Whether the case has one of the values given for each name."""
    wanted = (item.partition("=") for item in only)
    return all(str(getattr(case, name, None)) in values.split(",") for name, _, values in wanted)


def main(argv: list[str] | None = None) -> int:
    """Run; 1 if pairtile is missing, fails, or is wrong beyond tolerance anywhere."""
    parse = parser()
    options = parse.parse_args(argv)
    people = sys.stderr if options.json == "-" else sys.stdout
    outcomes: list[Outcome] = []
    if options.saved:
        runs = [json.loads(Path(file).read_text()) for file in options.saved]
        document = summary.merged(runs)
    else:
        document, outcomes = measure(parse, options, people)
    if document["cases"]:
        table = summary.markdown(document)
        print(table, file=people)
        if options.markdown:
            Path(options.markdown).write_text(table)
    if options.plot is not None:
        from bench import plot  # the one part that needs matplotlib

        plot.draw(document, Path(options.plot or PICTURES / plot.name(document)))
    ours = [outcome.ours for outcome in outcomes]
    return int(any(entry is not None and (entry.status != "ok" or entry.wrong) for entry in ours))


def measure(
    parse: argparse.ArgumentParser, options: argparse.Namespace, people: TextIO
) -> tuple[summary.Document, list[Outcome]]:
    """Run the chosen cases, printing and saving each as it ends: a run may be stopped."""
    contenders = tuple(options.contenders.split(",")) if options.contenders else None
    for name in contenders or ():
        if name not in DISTRIBUTIONS:
            parse.error(f"unknown contender {name!r}; known are {', '.join(DISTRIBUTIONS)}")
    if min(options.repeat, options.threads, options.scale, options.patience) <= 0:
        parse.error("--repeat, --threads, --scale and --patience must be positive")
    settings = Settings(
        threads=options.threads,
        repeat=options.repeat,
        scale=options.scale,
        timeout=options.timeout,
        patience=options.patience,
        contenders=contenders,
    )
    chosen = [
        case.scaled(options.scale)
        for case in CASES
        if options.family in (case.family, "all")
        and (options.large or not case.large)
        and options.case in case.title
        and selects(options.only, case)
    ]
    if not chosen and options.family not in ("footprint", "all"):
        parse.error(f"no case of {options.family} is like that")

    outcomes: list[Outcome] = []
    footprints: list[footprint.Footprint] = []
    with Ring(settings) as ring:
        for case in chosen:
            outcomes.append(ring.run(case))
            print(report.table(outcomes[-1], settings), end="\n\n", file=people, flush=True)
            if options.json not in (None, "-"):
                save(report.document(outcomes, footprints, settings), options.json)
    if options.family in ("footprint", "all"):
        footprints = footprint.measure(settings.repeat, contenders)
        print(report.footprint_table(footprints), file=people)
    document = report.document(outcomes, footprints, settings)
    if options.json:
        save(document, options.json)
    return document, outcomes


def save(document: summary.Document, file: str) -> None:
    text = json.dumps(document, indent=1) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        Path(file).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
