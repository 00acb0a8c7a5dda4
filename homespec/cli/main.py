"""Command line: the program `homespec`, which imports a verb only when it is called."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import sys
from typing import NoReturn

import click

from homespec.cli.exit_codes import FINDINGS, INTERRUPTED, OK, TROUBLE
from homespec.cli.streams import guard, loss
from homespec.limits import max_bytes
from homespec.version import __version__

VERBS = {
    "validate": "Check specs and report every mistake at once.",
    "compile": "Write the PyTorch file of a spec.",
    "diff": "Show what a change of a spec breaks, and what stays.",
    "show": "Print the model of a spec: layers, experts, gates, sizes.",
    "graph": "Draw the hierarchy of a spec.",
    "explain": "Print the documentation of a rule.",
    "schema": "Print the JSON Schema of specs, for editors.",
    "new": "Write a first spec.",
    "lsp": "Run the language server: diagnostics, completion, renames.",
    "check-data": "Check data against a spec, without torch.",
    "train": "Train the model of a spec and measure it.",
    "doctor": "Examine the experts and gates of a trained model.",
    "predict": "Score the rows of files with the model of a run.",
    "evaluate": "Measure the model of a run on the rows of files.",
    "export": "Make a folder that servers load.",
    "migrate": "Carry weights over to another spec.",
    "bench": "Measure the speed of a spec's code.",
}
"""Each verb and its help, so that `homespec --help` imports none of them."""

MEANT = {"check": "validate", "lint": "validate", "generate": "compile", "init": "new"}
"""Names that other tools use for our verbs."""


def _module(verb: str) -> str:
    return f"homespec.cli.{verb.replace('-', '_')}"


class Verbs(click.Group):
    """The verbs that are installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in order of use."""
        return [verb for verb in VERBS if importlib.util.find_spec(_module(verb))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(_module(cmd_name))
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; for an unknown one, suggest another."""
        verb = args[0]
        if not verb.startswith("-") and verb not in self.list_commands(ctx):
            from homespec.diagnostics.suggest import closest

            guess = MEANT.get(verb) or closest(verb, self.list_commands(ctx))
            hint = f" Did you mean `{guess}`?" if guess else ""
            ctx.fail(f"No verb is called `{verb}`.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, VERBS[verb]) for verb in self.list_commands(ctx)])


@click.command(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 clean, 1 findings, 2 wrong usage or an internal error.",
    subcommand_metavar="VERB [ARGS]...",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Check YAML specs of multi-task ranking models and compile them to PyTorch."""


def main() -> NoReturn:
    """Run the program and exit with its code."""
    gc.disable()  # a run is too short for garbage to matter; training turns it on again
    # Plugins of pydantic have no use here, and looking for some takes 30 ms.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    stdout = guard()
    code = _run()
    if reason := loss(stdout):
        click.echo(f"error: cannot write to stdout: {reason}", err=True)
        code = code or TROUBLE
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit without cleaning up modules, which would take a tenth of a short run."""
    if "torch" not in sys.modules:
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    """The exit code of a command line."""
    try:
        max_bytes()
    except ValueError as error:
        click.echo(f"Error: {error}", err=True)
        return TROUBLE
    try:
        result = cli.main(prog_name="homespec", standalone_mode=False)
        return result if isinstance(result, int) else OK
    except click.ClickException as error:
        error.show()
        return TROUBLE
    except click.Abort:
        return INTERRUPTED
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else OK
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> int:
    """Report the findings in a spec that a verb needs, or an internal error."""
    report = getattr(error, "report", None)
    if report is not None:
        from homespec.cli.reporting import print_report

        print_report(report, "full", err=True)
        return FINDINGS
    if os.environ.get("HOMESPEC_TRACEBACK"):
        raise error
    from homespec.cli.errors import in_lines

    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        click.echo(
            f"error: `{_undecoded(error)}` is not UTF-8: rename that file or folder", err=True
        )
        return TROUBLE
    kind = type(error).__name__
    click.echo(
        f"homespec: internal error: {kind}: {in_lines(error)}\n"
        "This is a mistake in homespec, not in your spec. Please report it together with the\n"
        "spec and the traceback, which HOMESPEC_TRACEBACK=1 shows.",
        err=True,
    )
    return TROUBLE


def _undecoded(error: UnicodeEncodeError) -> str:
    """The line that contains a name in another encoding, which Python holds as surrogates."""
    from homespec.diagnostics.render.terminal import printable

    before, after = error.object[: error.start], error.object[error.start :]
    return printable(before.split("\n")[-1] + after.split("\n")[0])
