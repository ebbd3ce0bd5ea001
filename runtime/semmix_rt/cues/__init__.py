"""Cues of a film: keyframes, extractors, the cache around them."""
