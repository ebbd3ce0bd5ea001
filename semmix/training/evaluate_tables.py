"""An evaluation as tables for a terminal, or for a file."""

from __future__ import annotations

import math
from collections.abc import Sequence

import click
from rich import box
from rich.console import Console
from rich.table import Table

from semmix.training.evaluate import CONDITIONS, EvaluationResult
from semmix.training.evaluate_report import TITLES, comparisons
from semmix.training.measures import READINGS

_FILE_COLUMNS = 160
"""Width of tables where no terminal has one: none is cut."""


def print_tables(result: EvaluationResult) -> None:
    """Measures by condition, readings beside the target's, comparisons, and the ablation."""
    errors = [m for m in result.measures if m not in READINGS]
    _print_table("lower is better", result, errors, (*CONDITIONS, "good"))
    _print_table("readings", result, READINGS, ("target", *CONDITIONS, "good"))
    for condition, against in comparisons(result):
        # Those against right cues have a table of their own.
        if condition not in result.ablated and against != "right":
            changes = [_change(result, condition, m, against, unit=" %") for m in result.distances]
            named = zip(result.distances, changes, strict=True)
            line = ", ".join(f"{measure} {change}" for measure, change in named)
            click.echo(f"{TITLES[condition]} against {TITLES[against]}: {line}")
    if result.ablated:
        _print_ablation(result)


def _print_table(
    heading: str, result: EvaluationResult, rows: Sequence[str], columns: Sequence[str]
) -> None:
    table = _new_table(heading, [TITLES[condition] for condition in columns])
    for measure in rows:
        means = (result.mean(condition, measure) for condition in columns)
        table.add_row(measure, *("-" if math.isnan(m) else f"{m:.3f}" for m in means))
    _print(table)


def _print_ablation(result: EvaluationResult) -> None:
    """How far a cue type alone brings the mix, between no cues and all of them; and, clip by clip,
    how far from where all of them bring it."""
    columns = [f"{measure} %" for measure in result.distances]
    table = _new_table("against the spoiled mix", [*columns, "balance_db"])
    for condition in ("right", *result.ablated, "none", "swapped"):
        changes = (result.change_percent(condition, m) for m in result.distances)
        balance_db = result.mean(condition, "balance_db")
        table.add_row(
            TITLES[condition],
            *("-" if math.isnan(c) else f"{c:+.1f}" for c in changes),
            "-" if math.isnan(balance_db) else f"{balance_db:.3f}",
        )
    _print(table)
    table = _new_table("against right cues (95 %)", columns)
    for condition in (*result.ablated, "none", "swapped"):
        changes_in_words = (_change(result, condition, m, "right") for m in result.distances)
        table.add_row(TITLES[condition], *changes_in_words)
    _print(table)


def _new_table(heading: str, columns: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(heading)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _print(table: Table) -> None:
    """Show a table whole: rich takes 80 columns where there is no terminal, and cuts."""
    console = Console()
    if not console.is_terminal:
        console.width = _FILE_COLUMNS
    console.print(table)


def _change(
    result: EvaluationResult, condition: str, measure: str, against: str, unit: str = ""
) -> str:
    """A change in percent with its 95 % interval where there is one; a dash where it is unknown."""
    change = result.change_percent(condition, measure, against)
    if math.isnan(change):
        return "-"
    low, high = result.interval_percent(condition, measure, against)
    text = f"{change:+.1f}{unit}"
    return text if math.isnan(low) else f"{text} ({low:+.1f} to {high:+.1f})"
