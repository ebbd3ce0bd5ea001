"""How far a remix stands from its target: MAG, ENV, W-dis, and the levels of stems."""

from semmix.metrics.env import env, hilbert_envelope
from semmix.metrics.levels import LevelError, level_error_db, stem_gains_db
from semmix.metrics.mag import mag
from semmix.metrics.signals import METRIC_RATE_HZ, PUBLISHED_SCALE, at_44100
from semmix.metrics.wasserstein import wasserstein

__all__ = [
    "METRIC_RATE_HZ",
    "PUBLISHED_SCALE",
    "LevelError",
    "at_44100",
    "env",
    "hilbert_envelope",
    "level_error_db",
    "mag",
    "stem_gains_db",
    "wasserstein",
]
