"""The runtime: media in and out, engines, streaming, remix and the command line."""
