"""Command line: `homespec graph`, the graph that the compiler makes of a spec."""

from __future__ import annotations

import click

from homespec.cli.exit_codes import FINDINGS, OK
from homespec.cli.specs import one_analysis, set_option


@click.command()
@click.argument("spec")
@set_option
@click.option(
    "-f",
    "--format",
    "output_format",
    type=click.Choice(["text", "mermaid", "dot", "json"]),
    default="text",
    show_default=True,
    help="text and json contain every node; mermaid and dot draw sets, states and towers.",
)
@click.option("--optimized", is_flag=True, help="Print the graph after the passes, in batches.")
def graph(spec: str, overrides: tuple[str, ...], output_format: str, optimized: bool) -> int:
    """Print the graph of SPEC, a file or - for stdin."""
    from homespec.drawing import FORMATS

    analysis = one_analysis(spec, overrides)
    if analysis is None:
        return FINDINGS
    nodes = analysis.graph
    if optimized:
        from homespec.passes import optimise

        nodes = optimise(nodes)
    click.echo(FORMATS[output_format](nodes), nl=False)
    return OK
