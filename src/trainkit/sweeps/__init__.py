"""Sweeps: a study of trials, each an ordinary run."""
