"""Training: from a spec and prepared data to a trained model, its metrics and its files."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lightning.pytorch as lightning
from torch import nn

import homespec
from homespec import memory
from homespec.analysis.spec_diff import model_tree
from homespec.compiler import validate_document
from homespec.data import DataError
from homespec.diagnostics import Severity
from homespec.header import spec_hash
from homespec.train import RunError, checkpoint, distributed, result, run_dir, table_merging
from homespec.train.checkpoint import BEST, FOLDER, LAST, Checkpoint
from homespec.train.checkpoint_callback import Checkpointer
from homespec.train.checkpoint_checks import DamagedError, Json
from homespec.train.datamodule import Loaders, Rows
from homespec.train.distributed import is_rank_zero, on_all_ranks, on_rank_zero, world_size
from homespec.train.evaluate import Measures
from homespec.train.fit_boundaries import check_fitted, set_fitted
from homespec.train.lit_module import Training
from homespec.train.result import BAYES_FILE, Result
from homespec.train.run_lock import Lock
from homespec.train.settings import Settings, changes, check_processes, from_json, idle
from homespec.train.spec_check import check_spec
from homespec.train.torch_compile import Compilations, decide
from homespec.train.trainer import trainer, undisturbed
from homespec.version import __version__

if TYPE_CHECKING:
    from homespec.api import LoadedSpec

Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """Where a run has its data and leaves its files, and what to do if there is a run already."""

    data: Sequence[Path]
    out: Path
    valid: Sequence[Path] = ()
    resume: bool = False
    overwrite: bool = False


def train(spec: LoadedSpec, place: Place, settings: Settings, say: Say) -> Result:
    """Train the model of `spec`, measure it after each epoch, keep checkpoints.

    Leaves checkpoints, losses, and at the end weights by logical names and metrics in the folder
    of the run. `say` gets a line now and then. Raises DataError for data that cannot be used and
    RunError for a run that cannot start or go on; the last checkpoint is intact then. Processes
    that torchrun started train together: each gets the result, and of an error the one that has
    it tells, the others raise `distributed.ElsewhereError`.
    """
    with distributed.init():
        own_say = say if is_rank_zero() else lambda line: None
        lock = Lock(place.out, own_say)
        try:
            on_rank_zero(lock.take)
            with _memory_told(spec):
                return _train(spec, place, settings, own_say)
        finally:
            lock.release()


def _train(spec: LoadedSpec, place: Place, settings: Settings, say: Say) -> Result:
    started = time.perf_counter()
    about = {
        "homespec": __version__,
        "spec": spec.name,
        "spec_sha256": spec_hash(spec.analysis.document),
        "model": model_tree(spec.analysis),
        "settings": asdict(settings),
        "processes": world_size(),
    }
    distributed.check_same("settings, or another spec,", about)
    bayes = on_all_ranks(lambda: result.read_bayes(place.data[0] / BAYES_FILE))
    kept = _kept(place, settings, about, say)
    rows = on_all_ranks(lambda: Rows.open(spec, place.data, place.valid, settings))
    distributed.check_same("data", rows.mark)
    if kept:
        stored = kept.state["data"]
        on_all_ranks(lambda: rows.check_same(stored, str(place.out)))
    about["data"] = rows.mark
    training, checkpointer = on_all_ranks(lambda: _built(spec, place, settings, rows, about))
    training.rows = on_all_ranks(rows.held)  # the long work, behind what may be refused
    say(_told(training.rows))
    for part in (rows.train, rows.valid):
        if part.source.not_read:
            say(part.source.not_read)
    say(decide(settings.compile)[1])
    if warnings := _warned(spec):
        say(warnings)
    if apart := table_merging.told(settings):
        say(apart)
    for line in idle(settings, settings.epochs * len(training.rows.training(epoch=0))):
        say(f"note: {line}")
    _begun(spec, place, training, checkpointer, kept, say)
    graphs = _fit(spec, training, checkpointer, place.out, say)
    found = _result(spec, bayes, training, checkpointer, graphs, time.perf_counter() - started)
    on_rank_zero(lambda: result.write(found, place.out))
    return found


@contextmanager
def _memory_told(spec: LoadedSpec) -> Iterator[None]:
    """Running out of memory as a RunError that names the largest weights."""
    try:
        with memory.explained(spec.analysis, "training"):
            yield
    except memory.OutOfMemoryError as error:
        raise RunError(str(error)) from None


def _begun(
    spec: LoadedSpec, place: Place, training: Training, checkpointer: Checkpointer,
    kept: Checkpoint | None, say: Say,
) -> None:  # fmt: skip
    """Bring the run to where it begins: that of the checkpoint, or the first step."""
    model, code, rows, settings = training.model, training.code, training.rows, training.settings
    if kept:
        on_all_ranks(lambda: checkpointer.restore(training, kept))
        if not training.losses.path.exists():
            steps = f"steps 1 to {training.at.step}"
            say(f"{training.losses.path} is gone: the losses of {steps} are not known")
        checkpointer.repair(training, kept)
        on_all_ranks(lambda: check_fitted(model, code, spec, place.out))
        _write_settings(spec, place, settings)
        say(f"resumed {checkpoint.told(kept.state)}")
    else:
        on_rank_zero(lambda: run_dir.clear(place.out, say))
        _write_settings(spec, place, settings)  # from here on the folder is known as that of a run
        on_all_ranks(
            lambda: set_fitted(model, code, spec, rows.train, place.out, settings.seed, say)
        )


def _write_settings(spec: LoadedSpec, place: Place, settings: Settings) -> None:
    on_rank_zero(
        lambda: run_dir.write_settings(place.out, spec.name, place.data, place.valid, settings)
    )


def _kept(place: Place, settings: Settings, about: Json, say: Say) -> Checkpoint | None:
    """The checkpoint to go on from, if it is one of this spec and these settings."""
    out = place.out
    on_all_ranks(lambda: check_processes(settings.batch_size, world_size()))
    if not on_rank_zero(lambda: run_dir.found(out, place.resume, place.overwrite, say)):
        return None
    kept = on_all_ranks(lambda: _read_last(out))
    if not kept.verified:
        say("the checkpoint has no checksums, an older homespec wrote it: it was not verified")
    on_all_ranks(lambda: _check_kept(kept, settings, about, out, say))
    return kept


def _read_last(out: Path) -> Checkpoint:
    """The checkpoint to go on from. Raises RunError that says what is left if it is damaged."""
    try:
        return checkpoint.read(out / FOLDER / LAST)
    except DamagedError as error:
        best = out / FOLDER / BEST
        try:
            epoch = checkpoint.read(best).state["at"]["epoch"]
        except RunError:
            raise error from None
        raise DamagedError(
            f"{error}. The weights of epoch {epoch} in {best} are intact; they lack the optimiser's"
            " moments, which resuming needs"
        ) from None


def _check_kept(kept: Checkpoint, settings: Settings, about: Json, out: Path, say: Say) -> None:
    check_spec(kept.state["model"], about["model"], out)
    for line in changes(from_json(kept.state["settings"]), settings):
        say(f"resumed with {line}")
    before, now = kept.state.get("processes", 1), world_size()
    if before != now:
        if kept.state["at"]["batch"]:
            raise RunError(
                f"{out} stands in the midst of an epoch that was dealt to {_processes(before)}, not"
                f" to {now}: resume it with as many, until the epoch is over"
            )
        say(f"resumed on {_processes(now)} in place of {before}")


def _processes(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}"


def _told(rows: Rows) -> str:
    stream = rows.training(epoch=0)
    memory = "" if rows.train.held is not None else " (read from the files each epoch)"
    dealt = f", dealt to {world_size()} processes" if world_size() > 1 else ""
    left = ""
    if count := stream.left_out:
        which = "rows that do" if count > 1 else "row that does"
        left = f"; each epoch leaves out {count} {which} not fill a batch of {stream.batch_size}"
    return (
        f"{rows.train.source.rows:,} rows to train on{memory}, {rows.valid.source.rows:,} held out"
        f"{left}{dealt}"
    )


def _warned(spec: LoadedSpec) -> str | None:
    """A line on how many warnings there are about a spec, and where to see them."""
    document = spec.analysis.document
    found = validate_document(document)
    count = sum(each.rule.severity is Severity.WARNING for each in found)
    if not count:
        return None
    sets = (f"--set={flag}" for flag in document.overrides)
    shown = shlex.join(["homespec", "validate", document.file, *sets])
    return f"{count} warning{'s' if count > 1 else ''} about the spec: {shown}"


def _built(
    spec: LoadedSpec, place: Place, settings: Settings, rows: Rows, about: Json
) -> tuple[Training, Checkpointer]:
    lightning.seed_everything(settings.seed, verbose=False)
    skip = table_merging.skipped_passes(settings)
    code, model = homespec.build_with_module(spec, optimize=settings.optimize, skip_passes=skip)
    compiled, _ = decide(settings.compile)
    measures = Measures.of(spec)
    training = Training(model, code, measures, settings, rows, place.out, compiled)
    return training, Checkpointer(place.out, about, measures.monitor(settings))


def _fit(
    spec: LoadedSpec, training: Training, checkpointer: Checkpointer, out: Path, say: Say
) -> int:
    """Train to the end; the number of graphs that were compiled."""
    graphs = Compilations(say)
    settings, at = training.settings, training.at
    with _said_how_to_go_on(out), _memory_told(spec), distributed.propagating_errors():
        training.losses.open(at.step)
        if at.epoch >= settings.epochs:
            say(f"all epochs are done: --epochs {at.epoch + 1} would train one more")
        elif not checkpointer.history.over(settings.patience):
            left = settings.epochs - at.epoch
            checkpointer.hold_random()
            with undisturbed():
                trainer(settings, checkpointer, out, left, at.step).fit(
                    training, datamodule=Loaders(training.rows, at.epoch, at.batch)
                )
    graphs.close()
    if graphs.count:
        say(f"the training step was compiled {'once' if graphs.count == 1 else graphs.count}")
    return graphs.count


@contextmanager
def _said_how_to_go_on(out: Path) -> Iterator[None]:
    """Errors of a run say where it can go on."""
    try:
        yield
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt(_way_on(out)) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_way_on(out)) from None
    except distributed.ElsewhereError:
        raise
    except (DataError, RunError) as error:
        raise type(error)(f"{error}. {_way_on(out)}") from None


def _way_on(out: Path) -> str:
    last = out / FOLDER / LAST
    if not (checkpoint.recover(last) if is_rank_zero() else last.exists()):
        return "There is no checkpoint yet"
    try:
        where = checkpoint.told(checkpoint.read_state(last))
    except RunError as error:
        return str(error)
    return f"The checkpoint {where} is intact: --resume goes on from it"


def _result(
    spec: LoadedSpec, bayes: dict[str, float], training: Training, checkpointer: Checkpointer,
    graphs: int, seconds: float,
) -> Result:  # fmt: skip
    rows, history, timer = training.rows, checkpointer.history, training.timer
    tasks = on_rank_zero(
        lambda: {
            name: asdict(task)
            for name, task in result.task_results(
                spec, history, training.losses.path, bayes
            ).items()
        }
    )
    return Result(
        spec=spec.name,
        spec_sha256=checkpointer.about["spec_sha256"],
        settings=training.settings,
        compiled=training.compiled,
        compilations=graphs,
        tasks={name: result.TaskResult(**task) for name, task in tasks.items()},
        monitor=checkpointer.monitor.name,
        history=history,
        rows_train=rows.train.source.rows,
        rows_valid=rows.valid.source.rows,
        rows_per_second=timer.rate * training.settings.batch_size,
        seconds=seconds,
        parameters=parameters(training.model),
    )


def parameters(model: nn.Module) -> int:
    """The number of weights."""
    return sum(p.numel() for p in model.parameters())
