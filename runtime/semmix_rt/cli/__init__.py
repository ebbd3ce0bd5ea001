"""The command line. Commands live in their rooms; `root` finds them by entry point."""
