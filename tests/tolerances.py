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

STREAM_FLOAT32 = 1e-5
"""Masks up to 8 and states of a network in chunks against the whole at once: matrix products of
other shapes sum in another order; 1e-6 is usual."""

LAYER_FLOAT32 = 1e-5
"""One float32 layer of a network, values near 1, against the same arithmetic in float64."""

SHARE_SUM = 1e-6
"""A float32 softmax over three sources, summed."""

SEGMENT_LEAK = 1e-4
"""What a cue segment of weight 0 still does to a mask: its tokens keep a share of 1e-6."""

LEVELLED_FLOAT32 = 3e-6
"""A stream scaled before and after against one that was not, full scale 1: float32 round-off of
the scaling, through STFT, mask and back."""

INT16_STEP = 1.0 / 32767.0
"""Samples kept as 16-bit integers: half a step of rounding, and float32 before it."""

RESAMPLED_TONE = 1e-4
"""A full-band tone at half scale, resampled at high quality: ripple of the filter, 16 bits."""

SHOT_LEVEL_LU = 0.3
"""Levels of half a second of steady noise between two shots: noise differs from part to part."""

GAIN_CURVE_DB = 2e-3
"""A gain read off single float32 samples of noise, the small ones included."""

LOSS_REL = 1e-5
"""Means over small float32 arrays, powers of 0.3 included, against float64."""

SPECTRUM_FLOAT32 = 2e-6
"""A bin of a float32 FFT of up to 2048 points of white noise, a full-scale sine being 1."""

WINDOW_SUM = 3e-7
"""Up to four float32 window values below 1 that add up to a constant: half an ulp each."""

TONE_RESAMPLED = 1e-4
"""A full-scale tone well inside the band through soxr HQ against its closed form: ripple of the
filter, 5e-5; one sample of delay would be wrong by 1."""

MASK_FLOAT32 = 1e-6
"""A few float32 products and one root, relative."""

GAIN_BOUND_DB = 2e-6
"""A gain of up to 80 dB kept as float32, half an ulp of relative error."""

REMIX_LEVEL_LU = 1e-4
"""Levels of stems in their own mix: the mix was summed in float32."""

CUE_SHARE = 3e-7
"""Shares of cues, kept as float32, against straight lines in float64; per unit of token value."""

REMIX_FLOAT32 = 1e-5
"""A remixed stream, full scale 1 and gains up to 2, against the whole signal in float64: float32
STFT, mask and inverse; resampling in float32 where the rates differ."""

REMIX_TONE = 2e-4
"""A tone with a constant gain through both resamplers and the STFT, against its closed form: the
ripple of soxr HQ twice, and the chunks' zeros after the end."""

EXPORT_SNR_DB = 90.0
"""ONNX Runtime against PyTorch eager in float32: sums of another order; 120 dB is usual."""

REMIX_RAMP = 2e-3
"""A gain that falls by 0.8 in 200 ms at half scale, against its straight line: the STFT rounds the
line's corners and steps along it frame by frame; one frame off would be wrong by 4e-3."""

MIX_FLOAT32 = 5e-7
"""Dry and wet below 4, mixed in float32: half an ulp for the product and one for the sum."""

K_WEIGHTING_DB = 1e-6
"""The K-curve from its analogue prototypes against the 15 digits of BS.1770-4's tables."""

K_WARP_DB = 0.2
"""The K-curve at one rate against another: the bilinear transform bends frequencies, most at
16 kHz, by 0.15 dB."""

ORACLE_FLOAT64 = 1e-11
"""A U-Net of twelve levels in float64 against another order of the same sums, as a share of the
result's standard deviation: 1e-14 is usual, and gated layers and norms multiply it."""

ORACLE_FLOAT32 = 5e-5
"""The same in float32: 4e-6 is usual."""

BATCH_FLOAT32 = 1e-4
"""A clip in a batch against the clip alone, through the whole base network, likewise: products of
other shapes sum in another order on every level."""

SINE_FLOAT32 = 4e-6
"""Sines of up to 60 radians that float32 has rounded to 2e-6."""

FRAME_FLOAT32 = 1e-4
"""A bin of a 4096-point float32 FFT of white noise, unnormalised: up to 150, ten ulp of which."""

INITIAL_STD_REL = 0.05
"""Standard deviation of a thousand and more uniform weights, between two seeds."""

NYQUIST_ROW = 1e-4
"""What the row at half the sample rate carries of low tones: the kinks of their mirrored ends."""

GROWTH_BYTES_PER_S = 20_000
"""Peak memory for each second of film, between 5 and 20 minutes of it. Packets in libavformat's
indices take 4 kB, and queues that the threads fill in one run and not in the other 6 kB; samples
that are kept would take 96 kB and more, packets of the picture 38 kB."""

INTERLEAVING_S = 0.5
"""Sound and picture from byte to byte of a file: muxers write chunks of some packets each."""

TRUE_PEAK_DB = 0.15
"""Oversampled peaks of two meters: their filters roll off differently near the end of the band,
and four times oversampling may miss a crest by 0.17 dB at 20 kHz."""

SI_SDR_DB = 1e-6
"""SI-SDR from another formula in float64: 1 - r^2 loses digits as r nears 1."""

WINDOW_FLOAT32 = 1e-3
"""A window through the whole base network by NumPy's transforms against PyTorch's, as a share of
the result's standard deviation: lively layers multiply the transforms' round-off."""

HEARD_ALIKE_DB = 90.0
"""SNR of a stream against the whole clip as training hears it: float32 sums in another order."""

WINDOW_SNR_DB = 60.0
"""ONNX Runtime against PyTorch eager on windows of sound: what an import promises; 100 dB is
usual."""

BFLOAT16_REL = 0.05
"""A small network whose weights were rounded to eight bits of mantissa, run in float32."""

FP16_SNR_DB = 55.0
"""Masks of an FP16-typed network against float32 on a film: eleven bits of mantissa give 66 dB for
a product; sixty layers of them, their norms in float32, keep 60 and more."""

FP16_LEVEL_REL = 5e-3
"""What a meter sums in float32, of shares that were computed in FP16."""

FAKE_QUANT_REL = 5e-3
"""A quantised product in ONNX Runtime against NumPy in float64, as a share of the spread: ties
that fall to the other side of a step; a quantisation itself moves values by 6e-2."""

INT8_CLIPS_DB = 15.0
"""SNR of an INT8 network on one clip against another: quiet passages are nearer to a step."""

CODEC_POWER_REL = 0.3
"""Power of low noise after a lossy codec at its lowest rate: Opus lets a quarter of it go."""

CODEC_ERROR = (1e-4, 0.25)
"""Power of what a lossy codec changes in low noise, as a share of it: 0.1 % at the best of our
rates, 13 % at the poorest; out of place by a sample or two it would be more."""

ENCODER_SNR_DB = 100.0
"""Vectors of encoders of one or two layers, ONNX Runtime against transformers: float32 sums in
another order, 120 to 145 dB."""

GPU_FP16_SNR_DB = 40.0
"""Masks of an FP16-typed network on a GPU against ONNX Runtime's: both round to eleven bits, at
other places; ONNX Runtime computes much of it in float32."""

GPU_INT8_SNR_DB = 25.0
"""Masks of a Q/DQ network on a GPU against its pairs computed as they stand: values that lie
between two of 256 steps fall to either side."""

TRAINED_BFLOAT16 = 0.02
"""Relative difference of losses over a dozen steps, products in bfloat16 against FP32: a product
is right to 2^-8, and every step starts where the rounded one before it ended."""

JPEG_MEAN_ERROR = 3.0
"""Mean error of a thumbnail, in levels of 255: smooth pictures, in which JPEG rounds
and halves the colours."""
