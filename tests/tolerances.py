"""Every tolerance the tests use, in one place, each with its reason."""

FLOAT32_ROUNDTRIP = 2e-6
"""STFT then iSTFT of a full-scale signal: float32 FFT round-off (2048 points, about 10 ulp)."""

METRIC_REL = 1e-9
"""A metric against its reference in float64: only the order of summation differs."""

METRIC_ABS = 1e-12
"""Hilbert envelopes of full-scale signals in float64: FFT round-off."""

K_WEIGHTING_ABS = 1e-6
"""K-weighting against the coefficients BS.1770 prints with 14 digits; the high-pass's poles
lie 0.005 from 1, which costs the digits in between."""

LOUDNESS_LU = 0.01
"""Integrated loudness against another meter: the same gates, block edges may differ by one
sample. EBU Tech 3341 allows 0.1 LU."""

LOUDNESS_OTHER_RATE_LU = 0.05
"""The same away from 48 kHz, where the other meter's high-pass gain drifts by 0.043 dB at 24 kHz."""

LEVEL_DB = 1e-6
"""Gains of stems in a true mix, from normal equations in float64."""

EMBEDDING_FLOAT32 = 1e-6
"""Norm of a float32 unit vector of 384 elements, summed in float32."""
