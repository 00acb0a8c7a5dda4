"""Draw the model of a doctor's report as an SVG of its own, such as docs/plots/doctor.svg.

    homespec doctor RUN --data FILES --html report.html
    python benchmarks/doctor_figure.py report.html docs/plots/doctor.svg

It holds the style of the report, so that it is light or dark as its reader is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from homespec.atomic_write import replacing

DRAWING = re.compile(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)".*?</svg>', re.DOTALL)
FONT = "svg { font-family: system-ui, sans-serif; }"


def figure(html: str) -> str:
    """The names of the tree and the flow of a report, side by side."""
    style = html[html.index("<style>") + len("<style>") : html.index("</style>")]
    tree, flow = list(DRAWING.finditer(html))[:2]
    left, width, height = float(tree[1]), float(flow[1]), float(flow[2])
    size = f"{left + width:g} {height:g}"
    right = flow[0].replace("<svg ", f'<svg x="{left:g}" ', 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}"><style>{style}{FONT}</style>'
        f'<rect width="100%" height="100%" style="fill: var(--paper)"/>'
        f"{tree[0]}{right}</svg>\n"
    )


def main() -> None:
    """The report and the picture are arguments."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    html = Path(sys.argv[1]).read_text("utf-8")
    with replacing(Path(sys.argv[2])) as (temporary,):
        temporary.write_text(figure(html), encoding="utf-8")


if __name__ == "__main__":
    main()
