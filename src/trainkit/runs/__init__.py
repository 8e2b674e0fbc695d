"""A run from beginning to end: directory, checkpoints, resuming, history, sinks."""
