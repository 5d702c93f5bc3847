"""Run the benches and print their table, as Markdown with --markdown: the one in the README is made so.

The exit code says whether they ran, not whether the numbers are good.
"""

import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.benchmarks import brian2, chip, demo, fixed, interchange, lava, locality, nengo, place, reference, study

BENCHES = {
    "reference": reference,
    "fixed": fixed,
    "lava": lava,
    "chip": chip,
    "place": place,
    "brian2": brian2,
    "nengo": nengo,
    "interchange": interchange,
    "study": study,
    "locality": locality,
    "demo": demo,
}


def main():
    markdown = "--markdown" in sys.argv
    wanted = [word for word in sys.argv[1:] if word != "--markdown"] or list(BENCHES)
    unknown = [name for name in wanted if name not in BENCHES]
    if unknown:
        sys.exit(f"no bench is called {unknown[0]!r}: use some of {', '.join(BENCHES)}")
    rows = [row for name in wanted for row in BENCHES[name].rows()]
    cells = [(r.what, f"{r.measured:.3g} {r.unit}", f"{'≥' if r.at_least else '≤'} {r.limit:g} {r.unit}", r) for r in rows]
    if markdown:
        print("| what | measured | limit | how |\n|---|---|---|---|")
        for what, measured, limit, row in cells:
            print(f"| {what} | {measured if row.holds else f'**{measured}**'} | {limit} | {row.detail} |")
        return
    table = Table("what", "measured", "limit", "holds", "how", box=SIMPLE_HEAD)
    for what, measured, limit, row in cells:
        table.add_row(what, measured, limit, "[green]yes[/]" if row.holds else "[bold red]no[/]", row.detail)
    Console(width=max(170, Console().width)).print(table)
    for name in wanted:
        if hasattr(BENCHES[name], "table"):
            print(BENCHES[name].table())


if __name__ == "__main__":
    main()
