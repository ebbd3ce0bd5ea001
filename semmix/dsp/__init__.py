"""Signal processing in NumPy: STFT, streaming twins, masks, resampling, loudness."""
