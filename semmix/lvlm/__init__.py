"""Vision language models through `transformers`; torch starts when the first talk is answered."""
