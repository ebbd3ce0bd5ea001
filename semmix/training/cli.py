"""`semmix-rt train`."""

from __future__ import annotations

from pathlib import Path

import click

from semmix.training.settings import OPTIMIZERS, PRODUCTS, TrainSettings

LOG_EVERY_S = 30.0
"""A line this often where stderr is a log file and not a terminal."""


@click.command("train")
@click.option(
    "--stems",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder with speech/, music/ and effects/; all mixes are made from it.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Checkpoint to write (.safetensors); saved every few minutes, on Ctrl-C and at the end.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="Checkpoint to go on from; its settings win, so the run goes on exactly.",
)
@click.option(
    "--start",
    type=click.Path(path_type=Path),
    help="Bundle whose weights a new run begins with: fine-tuning on stems of your own.",
)
@click.option(
    "--fresh",
    multiple=True,
    metavar="PART",
    help="With --start: leave this part of the bundle's network out and begin it by chance, such "
    "as context_encoder; may be repeated.",
)
@click.option("--preset", default="edge", show_default=True, help="Size of a new network.")
@click.option("--steps", default=12_000, show_default=True, help="Steps in all, resumed included.")
@click.option("--batch", default=4, show_default=True, help="Clips in a step.")
@click.option("--clip-s", default=8.0, show_default=True, help="Seconds of a clip.")
@click.option("--learning-rate", default=2e-3, show_default=True, help="Peak of the rate.")
@click.option(
    "--optimizer",
    type=click.Choice(OPTIMIZERS),
    default="adamw",
    show_default=True,
    help="What moves the weights; Muon orthogonalises the steps of matrices.",
)
@click.option(
    "--precision",
    type=click.Choice(PRODUCTS),
    default="fp32",
    show_default=True,
    help="Of matrix products: bf16 makes a step a third faster on CPUs that have instructions for "
    "it (Linux lists avx512_bf16 in /proc/cpuinfo) and slower on others. Leave --compile out "
    "then.",
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Where PyTorch computes, such as cuda, cuda:1 or mps. Only CPUs resume to the same bits.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes that make batches. One keeps up with a few CPU cores, a GPU wants several; "
    "each keeps the recordings it has decoded in memory, 6 MB a minute.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change one size of the network or one setting of the run, such as context_layers=3, "
    "dropout=0.1 or groups=24x2,16x8,8x32,6x99; may be repeated. A wrong name lists all.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=1,
    show_default=True,
    help="Fixes the start and every batch.",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), help="CPU threads of PyTorch; all cores by default."
)
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile the step first: about two minutes, then a fifth faster. Needs a C++ compiler.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing checkpoint.")
def command(
    stems: Path,
    output: Path,
    resume: Path | None,
    start: Path | None,
    fresh: tuple[str, ...],
    preset: str,
    steps: int,
    batch: int,
    clip_s: float,
    learning_rate: float,
    optimizer: str,
    precision: str,
    device: str,
    workers: int,
    changes: tuple[str, ...],
    seed: int,
    threads: int | None,
    compiled: bool,
    overwrite: bool,
) -> None:
    """Train a network on a folder of stems.

    Every batch follows from the seed and the step alone: a run that was stopped and resumed ends
    with the same weights as one that was not.
    """
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from semmix.errors import UsageError
    from semmix.nn import PRESETS
    from semmix.training.trainer import Progress as Step
    from semmix.training.trainer import Trainer

    if preset not in PRESETS:
        raise UsageError(f"there is no preset {preset!r}: use one of {', '.join(PRESETS)}")
    if min(steps, batch) < 1 or not 0.5 <= clip_s <= 60.0:
        raise UsageError("give at least 1 step, 1 clip a step, and clips of 0.5 to 60 s")
    if resume and start:
        raise UsageError("--resume goes on with a run and --start begins one: give one of them")
    if resume and changes:
        raise UsageError("--set changes a new run, not one that --resume goes on with")
    if fresh and not start:
        raise UsageError("--fresh leaves out parts of a bundle: name it with --start")
    if not 0.0 < learning_rate <= 1.0:
        raise UsageError(f"a learning rate of {learning_rate} trains nothing: give 0 to 1")
    if output.is_dir():
        raise UsageError(f"{output} is a folder: name the file to write")
    if output.exists() and output != resume and not overwrite:
        raise UsageError(f"{output} exists: give another name, --resume it, or --overwrite")
    if threads:
        torch.set_num_threads(threads)
    settings = TrainSettings(
        steps=steps,
        batch=batch,
        clip_s=clip_s,
        optimizer=optimizer,
        precision=precision,
        learning_rate=learning_rate,
        seed=seed,
    )
    trainer = Trainer(
        stems, settings, preset, resume, start, fresh, changes, workers, compiled, device
    )
    first = trainer.step
    if first >= steps:
        raise UsageError(f"{resume} is at step {first} already: give more --steps to train further")
    console = Console(stderr=True)
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("step {task.completed:.0f}/{task.total:.0f}  {task.fields[note]}"),
        TimeRemainingColumn(),
    )
    mean, logged_s = 0.0, 0.0
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=steps, completed=trainer.step, note="")

        def show(step: Step) -> None:
            nonlocal mean, logged_s
            mean = step.loss if mean == 0.0 else 0.98 * mean + 0.02 * step.loss
            note = f"loss {mean:.3f}  {step.audio_s / step.elapsed_s:.0f}x real time"
            bar.update(task, completed=step.step, note=note)
            if not console.is_terminal and step.elapsed_s - logged_s >= LOG_EVERY_S:
                logged_s = step.elapsed_s
                click.echo(f"step {step.step}/{step.steps}  {note}", err=True)

        try:
            trainer.run(output, show)
        except KeyboardInterrupt as exc:
            if trainer.step == first:
                raise
            raise KeyboardInterrupt(
                f"{output} holds step {trainer.step}: go on with --resume {output} -o {output}"
            ) from exc
    click.echo(f"{output}: step {trainer.step}, loss {mean:.3f}")
