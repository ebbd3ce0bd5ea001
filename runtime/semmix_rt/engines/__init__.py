"""Inference engines behind one interface."""

from semmix_rt.engines.base import Engine, State, WindowEngine
from semmix_rt.engines.registry import engine_names, open_engine, open_window_engine

__all__ = ["Engine", "State", "WindowEngine", "engine_names", "open_engine", "open_window_engine"]
