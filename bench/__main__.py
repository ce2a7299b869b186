"""The command `python -m bench`: choose cases, run them, print tables or JSON."""

import argparse
import json
import sys
from pathlib import Path

from bench import footprint, report
from bench.cases import CASES, FAMILIES
from bench.harness import Outcome, Ring, Settings
from bench.peers import DISTRIBUTIONS


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    result.add_argument("family", choices=[*FAMILIES, "footprint", "all"])
    result.add_argument("--repeat", type=int, default=5, help="timed calls each (default 5)")
    result.add_argument("--threads", type=int, default=2, help="for every contender (default 2)")
    result.add_argument(
        "--scale", type=float, default=1.0, help="factor on the numbers of rows, for trial runs"
    )
    result.add_argument("--large", action="store_true", help="also the cases of minutes per call")
    result.add_argument("--case", default="", help="only cases whose title contains this text")
    result.add_argument("--contenders", help="only these, separated by commas")
    result.add_argument(
        "--timeout", type=float, default=600.0, help="seconds before a call is given up (600)"
    )
    result.add_argument(
        "--json", metavar="FILE", help="write everything measured to FILE, or - for standard output"
    )
    return result


def main(argv: list[str] | None = None) -> int:
    """Run; 1 if pairtile is missing, fails, or is wrong beyond tolerance anywhere."""
    parse = parser()
    options = parse.parse_args(argv)
    contenders = tuple(options.contenders.split(",")) if options.contenders else None
    for name in contenders or ():
        if name not in DISTRIBUTIONS:
            parse.error(f"unknown contender {name!r}; known are {', '.join(DISTRIBUTIONS)}")
    if options.repeat < 1 or options.threads < 1 or not options.scale > 0:
        parse.error("--repeat, --threads and --scale must be positive")
    settings = Settings(options.threads, options.repeat, options.scale, options.timeout, contenders)
    chosen = [
        case
        for case in (
            case.scaled(options.scale) for case in CASES if options.large or not case.large
        )
        if options.family in (case.family, "all") and options.case in case.title
    ]
    if not chosen and options.family not in ("footprint", "all"):
        parse.error(f"no case of {options.family} has {options.case!r} in its title")

    people = sys.stderr if options.json == "-" else sys.stdout
    outcomes: list[Outcome] = []
    with Ring(settings) as ring:
        for case in chosen:
            outcomes.append(ring.run(case))
            print(report.table(outcomes[-1], settings), end="\n\n", file=people, flush=True)
    footprints = []
    if options.family in ("footprint", "all"):
        footprints = footprint.measure(settings.repeat, contenders)
        print(report.footprint_table(footprints), file=people)

    if options.json:
        text = json.dumps(report.document(outcomes, footprints, settings), indent=1) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text)
    ours = [outcome.ours for outcome in outcomes]
    return int(any(entry is not None and (entry.status != "ok" or entry.wrong) for entry in ours))


if __name__ == "__main__":
    sys.exit(main())
