"""Calibration: precision choices measured on real audio."""

from semmix_calibration.calibrate import Calibration, calibrate

__all__ = ["Calibration", "calibrate"]
