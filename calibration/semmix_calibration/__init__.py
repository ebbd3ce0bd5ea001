"""Calibration: precision choices measured on real audio."""
