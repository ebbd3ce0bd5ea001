"""Whether compiled engines were held against PyTorch: records in the sidecars of their plans.

A record is about the plan it lies beside, together with the context encoder's and on the GPU that
both ran on: where one of the three is another, nothing is proved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semmix.bundle import Bundle
from semmix_rt.engines.trt.batches import ONE
from semmix_rt.engines.trt.plans import PlanFolder, PlanKey

_CONTEXT = "context_plan_sha256"
"""In records; `context_sha256` there is the hash of the graph."""


def keep(
    plans: PlanFolder,
    key: PlanKey,
    record: Mapping[str, Any],
    *,
    provider: str,
    plan_sha256: str,
    context_sha256: str,
) -> None:
    """Write a record beside a mask network's plan.

    Args:
        plans: the folder.
        key: of the mask network's plan.
        record: what the gate found, see `Bundle.proves`.
        provider: what ran, and where.
        plan_sha256: of the plan that ran.
        context_sha256: of the context encoder's that ran, empty for a model without.

    Raises:
        EngineMismatchError, EngineError: see `PlanFolder.keep_parity`.
    """
    found = {**record, "provider": provider, _CONTEXT: context_sha256}
    plans.keep_parity(key, found, plan_sha256)


def doubt(
    plans: PlanFolder,
    key: PlanKey,
    bundle: Bundle,
    *,
    provider: str,
    plan_sha256: str,
    context_sha256: str,
) -> str:
    """Why a plan is not proved, as the end of a sentence; empty where it is. See `keep`.

    Args:
        plans: the folder.
        key: of the mask network's plan.
        bundle: whose network it is, which judges the record.
        provider: what runs, and where.
        plan_sha256: of the plan that was loaded, empty for one that was not yet.
        context_sha256: of the context encoder's, empty for a model without.

    Raises:
        EngineMismatchError: see `PlanFolder.find`.
    """
    named = f"in {key.precision}"
    if key.batch != ONE:
        named += f" for {key.batch} streams at once"
    record = plans.parity(key)
    here = {"provider": provider, _CONTEXT: context_sha256}
    if plan_sha256:
        # It may have been built again since.
        here["plan_sha256"] = plan_sha256
    if record is None or any(record.get(name) != value for name, value in here.items()):
        return f"{named} has never been compared with PyTorch on this GPU"
    if bundle.proves(key.precision, record):
        return ""
    return f"{named} failed its comparison with PyTorch"
