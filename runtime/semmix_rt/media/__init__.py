"""Media in and out: probing, one-pass copying around one audio stream, verification."""
