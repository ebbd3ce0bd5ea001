"""Every tolerance the tests use, in one place, each with its reason."""

FLOAT32_ROUNDTRIP = 2e-6
"""STFT then iSTFT of a full-scale signal: float32 FFT round-off (2048 points, about 10 ulp)."""

METRIC_REL = 1e-9
"""A metric against its reference in float64: only the order of summation differs."""

METRIC_ABS = 1e-12
"""Hilbert envelopes of full-scale signals in float64: FFT round-off."""

LEVEL_DB = 1e-6
"""Gains of stems in a true mix, from normal equations in float64."""

EMBEDDING_FLOAT32 = 1e-6
"""Norm of a float32 unit vector of 384 elements, summed in float32."""

LOUDNESS_LU = 0.1
"""Hop-wise spectral K-weighting against the recursive filters of other meters: hops cut the
filters' tails, and pyloudnorm scales its high-pass 0.04 dB below the standard's."""

LOUDNESS_RANGE_LU = 0.2
"""Percentiles of short-term loudness; meters differ in where their windows start."""

CONTAINER_TIME_S = 1.1e-3
"""Times read back from Matroska: its clock ticks once a millisecond."""

KEYFRAME_LUMA = 12.0
"""Mean colour of a keyframe, 8-bit levels: lossy coding and subsampled chroma of flat blocks."""

CUT_WITHOUT_KEY_S = 4.1 / 24
"""A cut that the encoder gave no key frame: found at the next reference frame, at 24 frames a
second behind at most three B-frames."""

ENGINE_MASK = 1e-5
"""Masks of a few small matrix products, ONNX Runtime against NumPy: order of summation."""

CUDA_MASK = 1e-3
"""Masks of the CUDA provider against the CPU's: TF32 products keep 10 bits of mantissa."""

MATROSKA_TICK_S = 1.0e-3
"""Matroska stores timestamps in whole milliseconds: picture and sound are rounded each by half."""

MPEGTS_TICK_S = 1 / 90_000
"""MPEG transport streams count in 90 kHz."""

RESIZE_LEVELS = 2e-3
"""Resized 8-bit levels: float32 sums of at most a few hundred weighted pixels up to 255."""

PROBABILITY_FLOAT32 = 2e-5
"""Softmax outputs of small float32 networks: order of summation differs between evaluators."""
