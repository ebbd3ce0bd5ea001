"""How far a remix stands from its target, and the levels that an editor reads."""

from semmix.metrics.agreement import MaskAgreement, compare_masks, snr_db
from semmix.metrics.dib import agreement, dib
from semmix.metrics.env import env, hilbert_envelope
from semmix.metrics.kld import kld
from semmix.metrics.levels import LevelError, level_error_db, stem_gains_db
from semmix.metrics.mag import mag
from semmix.metrics.programme import ProgrammeLevels, integrated_lufs, programme_levels
from semmix.metrics.si_sdr import si_sdr_db
from semmix.metrics.signals import METRIC_RATE_HZ, PUBLISHED_SCALE, at_44100
from semmix.metrics.wasserstein import wasserstein

__all__ = [
    "METRIC_RATE_HZ",
    "PUBLISHED_SCALE",
    "LevelError",
    "MaskAgreement",
    "ProgrammeLevels",
    "agreement",
    "at_44100",
    "compare_masks",
    "dib",
    "env",
    "hilbert_envelope",
    "integrated_lufs",
    "kld",
    "level_error_db",
    "mag",
    "programme_levels",
    "si_sdr_db",
    "snr_db",
    "stem_gains_db",
    "wasserstein",
]
