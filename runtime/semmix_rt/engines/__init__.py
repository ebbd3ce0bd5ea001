"""Inference engines behind one interface."""

from semmix_rt.engines.base import Engine, State
from semmix_rt.engines.registry import engine_names, open_engine

__all__ = ["Engine", "State", "engine_names", "open_engine"]
