"""Training: trains the model of a spec on prepared data, and writes its metrics and files."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from homespec import memory
from homespec.analysis.spec_diff import model_tree
from homespec.data import DataError
from homespec.header import spec_hash
from homespec.train import RunError, checkpoint, distributed, result, run_dir, table_merging
from homespec.train.checkpoint import BEST, FOLDER, LAST, Checkpoint
from homespec.train.checkpoint_callback import Checkpointer
from homespec.train.checkpoint_checks import DamagedError, Json
from homespec.train.datamodule import RankingData, Rows
from homespec.train.distributed import is_rank_zero, on_all_ranks, on_rank_zero, world_size
from homespec.train.fit_boundaries import check_fitted, set_fitted
from homespec.train.hparams import Hyperparameters, hyperparameters
from homespec.train.lit_module import Position, RankingModule
from homespec.train.losses import FILE as LOSSES_FILE
from homespec.train.losses import LossFile
from homespec.train.notes import described, few_steps, idle, warned
from homespec.train.progress import Speed
from homespec.train.result import BAYES_FILE, Result
from homespec.train.run_lock import Lock
from homespec.train.session_notes import session_notes
from homespec.train.settings import Settings, changes, check_processes, from_json, total_steps
from homespec.train.spec_check import check_spec
from homespec.train.table_files import check_files, fill_tables, ids_of_vocabularies
from homespec.train.torch_compile import Compilations, decide
from homespec.train.train_step import check_schedule
from homespec.train.trainer import EndOnSigterm, trainer, undisturbed
from homespec.train.warm_start import check_apart
from homespec.train.watch import WatchExperts
from homespec.version import __version__

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers import Logger

    from homespec.api import LoadedSpec

Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """The paths of a run's data and files, and what to do with an existing run."""

    data: Sequence[Path]
    out: Path
    valid: Sequence[Path] = ()
    resume: bool = False
    overwrite: bool = False


def train(
    spec: LoadedSpec,
    place: Place,
    settings: Settings,
    say: Say = print,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
) -> Result:
    """Train the model of `spec`, measure it after each epoch, keep checkpoints.

    `callbacks` and `loggers` are Lightning's. They are added to those of the run, and see a Trainer
    that trains a `RankingModule`. Their state is not saved: a resumed run has new ones.

    Leaves checkpoints, losses, and at the end weights by logical names and metrics in the folder of
    the run. `say` receives progress lines. Raises DataError for data that cannot be used and
    RunError for a run that cannot start or continue; the last checkpoint is intact then. Processes
    that torchrun started train together: each gets the result, and of an error the one that has it
    reports it, the others raise `distributed.ElsewhereError`.
    """
    with distributed.init():
        own_say = say if is_rank_zero() else lambda line: None
        lock = Lock(place.out, own_say)
        try:
            on_rank_zero(lock.take)
            with _memory_explained(spec):
                return _train(spec, place, settings, own_say, callbacks, loggers)
        finally:
            lock.release()


def _train(
    spec: LoadedSpec, place: Place, settings: Settings, say: Say, callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
) -> Result:  # fmt: skip
    started = time.perf_counter()
    about: Json = {
        "homespec": __version__,
        "spec": spec.name,
        "spec_sha256": spec_hash(spec.analysis.document),
        "model": model_tree(spec.analysis),
        "settings": asdict(settings),
        "processes": world_size(),
    }
    distributed.check_same("settings or a different spec", about)
    bayes = on_all_ranks(lambda: result.read_bayes(place.data[0] / BAYES_FILE))
    kept = _kept(spec, place, settings, say)
    if kept is None and settings.init_from is None:
        on_all_ranks(lambda: check_files(spec))
    data = RankingData(spec, place.data, place.valid, settings)
    rows = on_all_ranks(lambda: data.rows)
    distributed.check_same("data", rows.mark)
    if kept:
        stored = kept.state["data"]
        on_all_ranks(lambda: rows.check_same(stored, str(place.out)))
    about["data"] = rows.mark
    warm = kept is None
    module, checkpointer = on_all_ranks(lambda: _built(spec, place, settings, data, about, warm))
    about["init_from"] = _origin(module, kept)
    on_all_ranks(data.load)  # the long work, after everything that may be refused
    for line in _remarks(spec, module, data.rows):
        say(line)
    _begin(spec, place, module, data, checkpointer, kept, say)
    speed = Speed()
    graphs = _fit(spec, module, data, checkpointer, place.out, say, [speed, *callbacks], loggers)
    tasks = on_rank_zero(lambda: _tasks(spec, checkpointer, bayes))
    outcome = Result(
        spec=spec.name,
        spec_sha256=about["spec_sha256"],
        settings=settings,
        compiled=module.compiled,
        compilations=graphs,
        tasks={name: result.TaskResult(**task) for name, task in tasks.items()},
        monitor=checkpointer.monitor.name,
        history=checkpointer.history,
        rows_train=rows.train.source.rows,
        rows_valid=rows.valid.source.rows,
        rows_per_second=speed.rate * settings.batch_size,
        seconds=time.perf_counter() - started,
        parameters=parameters(module.model),
        init_from=about["init_from"],
    )
    on_rank_zero(lambda: result.write(outcome, place.out))
    return outcome


def _origin(module: RankingModule, kept: Checkpoint | None) -> Json | None:
    """The origin of the initial weights, the same in all processes."""
    if kept:
        origin: Json | None = kept.state.get("init_from")
        return origin
    origin = module.start.about if module.start else None
    distributed.check_same("weights to start from", origin)
    return origin


def _remarks(spec: LoadedSpec, module: RankingModule, rows: Rows) -> Iterator[str]:
    """Print notes before the first step."""
    settings = module.settings
    yield described(rows)
    if module.start:
        yield from module.start.lines
    step = module.train_step
    if frozen := step.frozen.remark:
        yield frozen
    yield from step.rates.remarks(settings.lr, settings.table_lr if step.tables else settings.lr)
    yield from step.penalties.remarks
    for part in (rows.train, rows.valid):
        if part.source.not_read:
            yield part.source.not_read
    yield decide(settings.compile)[1]
    yield from session_notes(module.code, rows)
    if warnings := warned(spec):
        yield warnings
    if apart := table_merging.remark(settings):
        yield apart
    for line in idle(settings, rows.steps):
        yield f"note: {line}"
    if few := few_steps(settings, rows.train.source.rows, world_size()):
        yield f"note: {few}"


@contextmanager
def _memory_explained(spec: LoadedSpec) -> Iterator[None]:
    """Report running out of memory as a RunError, which names the largest weights."""
    try:
        with memory.explained(spec.analysis, "training"):
            yield
    except memory.OutOfMemoryError as error:
        raise RunError(str(error)) from None


def _begin(
    spec: LoadedSpec, place: Place, module: RankingModule, data: RankingData,
    checkpointer: Checkpointer, kept: Checkpoint | None, say: Say,
) -> None:  # fmt: skip
    """Bring the run to its start: the state of the checkpoint, or the first step."""
    model, code, settings = module.model, module.code, module.settings
    if kept:
        on_all_ranks(lambda: checkpointer.restore(module, kept, data.rows.steps))
        losses = checkpointer.losses.path
        if not losses.exists():
            steps = f"steps 1 to {module.position.step}"
            say(f"{losses} is missing, so the losses of {steps} are not known")
        checkpointer.repair(kept)
        on_all_ranks(lambda: check_fitted(model, code, spec, place.out))
        _write_settings(spec, place, checkpointer)
        say(f"resumed {checkpoint.progress(kept.state)}")
    else:
        on_rank_zero(lambda: run_dir.clear(place.out, say))
        _write_settings(spec, place, checkpointer)  # the folder is now recognised as that of a run
        part, out, seed = data.rows.train, place.out, settings.seed
        frozen = module.train_step.frozen.names
        ids = ids_of_vocabularies(code.logical_state(model))
        on_all_ranks(lambda: set_fitted(model, code, spec, part, out, seed, say, frozen))
        carried = code.logical_state(model).keys() - module.start.new if module.start else ()
        rows = module.start.rows if module.start else {}
        on_all_ranks(lambda: fill_tables(model, code, spec, carried, say, rows, ids))
    data.epoch, data.start = module.position.epoch, module.position.batch


def _write_settings(spec: LoadedSpec, place: Place, checkpointer: Checkpointer) -> None:
    settings, origin = checkpointer.settings, checkpointer.about["init_from"]
    on_rank_zero(
        lambda: run_dir.write_settings(
            place.out, spec.analysis, place.data, place.valid, settings, origin
        )
    )


def _kept(spec: LoadedSpec, place: Place, settings: Settings, say: Say) -> Checkpoint | None:
    """The checkpoint to resume from, if it is one of this spec and these settings."""
    out = place.out
    on_all_ranks(lambda: check_apart(settings, out))
    on_all_ranks(lambda: check_processes(settings.batch_size, world_size()))
    if not on_rank_zero(lambda: run_dir.can_resume(out, place.resume, place.overwrite, say)):
        return None
    kept = on_all_ranks(lambda: _read_last(out))
    if not kept.verified:
        say(
            "the checkpoint has no checksums, because an older homespec wrote it, so it was not "
            "verified"
        )
    on_all_ranks(lambda: _check_kept(kept, spec, settings, place, say))
    return kept


def _read_last(out: Path) -> Checkpoint:
    """The checkpoint to resume from.

    Raises RunError, which names intact files, if it is damaged.
    """
    try:
        return checkpoint.read(out / FOLDER / LAST)
    except DamagedError as error:
        best = out / FOLDER / BEST
        try:
            epoch = checkpoint.read(best).state["at"]["epoch"]
        except RunError:
            raise error from None
        raise DamagedError(
            f"{error}. The weights of epoch {epoch} in {best} are intact, but they lack the "
            "optimiser's moments, which resuming needs"
        ) from None


def _check_kept(
    kept: Checkpoint, spec: LoadedSpec, settings: Settings, place: Place, say: Say
) -> None:
    check_spec(kept.state["model"], spec.analysis, place.out)
    for line in changes(from_json(kept.state["settings"]), settings):
        say(f"resumed with {line}")
    before, now = kept.state.get("processes", 1), world_size()
    if before != now:
        if kept.state["at"]["batch"]:
            raise RunError(
                f"{place.out} is in the middle of an epoch that was dealt to {_processes(before)},"
                f" not to {now}: resume it with the same number until the epoch is over"
            )
        say(f"resumed on {_processes(now)} in place of {before}")


def _processes(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}"


def _built(
    spec: LoadedSpec, place: Place, settings: Settings, data: RankingData, about: Json, warm: bool
) -> tuple[RankingModule, Checkpointer]:
    steps = total_steps(settings, data.rows.steps)
    check_schedule(settings, steps)
    module = RankingModule(spec, settings, steps=steps, warm=warm)
    if inside := steps % data.rows.steps:
        module.ends_inside, data.end = True, (steps // data.rows.steps, inside)
    losses = LossFile(module.tasks, place.out / LOSSES_FILE, settings.batch_size)
    module.losses.file = losses
    return module, Checkpointer(place.out, about, settings, module.monitor, losses)


def _fit(
    spec: LoadedSpec, module: RankingModule, data: RankingData, checkpointer: Checkpointer,
    out: Path, say: Say, callbacks: Sequence[Callback], loggers: Sequence[Logger],
) -> int:  # fmt: skip
    """Train to the end, and return the number of compiled graphs."""
    graphs = Compilations(say)
    settings, at = module.settings, module.position
    with _saying_how_to_resume(out), _memory_explained(spec), distributed.propagating_errors():
        checkpointer.losses.open(at.step)
        if done := _done(settings, at, checkpointer, out):
            say(done)
        elif not checkpointer.history.over(settings.patience):
            epochs = math.ceil(total_steps(settings, data.rows.steps) / data.rows.steps)
            own = [checkpointer, *_own(spec, checkpointer)]
            module.measures_start = settings.init_from is not None and not at.step
            with undisturbed():
                trainer(
                    settings, out, epochs, at, [*own, *callbacks], loggers, module.measures_start,
                    module.ends_inside,
                ).fit(module, datamodule=data)  # fmt: skip
    graphs.close()
    if graphs.count:
        say(f"the training step was compiled {'once' if graphs.count == 1 else graphs.count}")
    return graphs.count


def _done(settings: Settings, at: Position, checkpointer: Checkpointer, out: Path) -> str:
    """The remark for a run that is already at its end; empty if it is not.

    Raises RunError for an end before the last step, for which there are no metrics.
    """
    if at.epoch >= settings.epochs:
        return f"all epochs are done; --epochs {at.epoch + 1} would train one more"
    if settings.max_steps is None or at.step < settings.max_steps:
        return ""
    epochs = checkpointer.history.epochs
    if not epochs or epochs[-1]["step"] != at.step:
        raise RunError(
            f"{out} has taken {at.step} steps, and --max-steps {settings.max_steps} is not more:"
            " give a greater one"
        )
    return f"all steps are done; a greater --max-steps than {at.step} would train on"


def _own(spec: LoadedSpec, checkpointer: Checkpointer) -> Iterator[Callback]:
    """The callbacks of every run besides checkpoints."""
    settings = checkpointer.settings
    yield EndOnSigterm()
    yield WatchExperts(spec, log=settings.watch_experts)
    yield Hyperparameters(hyperparameters(spec, settings), checkpointer.history)


@contextmanager
def _saying_how_to_resume(out: Path) -> Iterator[None]:
    """Add to errors of a run how to resume it."""
    try:
        yield
    except SystemExit:  # Lightning turns Ctrl-C into this
        raise KeyboardInterrupt(_how_to_resume(out)) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_resume(out)) from None
    except distributed.ElsewhereError:
        raise
    except (DataError, RunError) as error:
        raise type(error)(f"{error}. {_how_to_resume(out)}") from None


def _how_to_resume(out: Path) -> str:
    last = out / FOLDER / LAST
    if not (checkpoint.recover(last) if is_rank_zero() else last.exists()):
        return "No checkpoint exists yet"
    try:
        where = checkpoint.progress(checkpoint.read_state(last))
    except RunError as error:
        return str(error)
    return f"The checkpoint {where} is intact: --resume continues from it"


def _tasks(
    spec: LoadedSpec, checkpointer: Checkpointer, bayes: dict[str, float]
) -> dict[str, Json]:
    history, losses = checkpointer.history, checkpointer.losses.path
    results = result.task_results(spec, history, losses, bayes)
    return {name: asdict(task) for name, task in results.items()}


def parameters(model: nn.Module) -> int:
    """The number of weights."""
    return sum(p.numel() for p in model.parameters())
