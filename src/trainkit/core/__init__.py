"""Nouns that every wing uses: errors, text, files, seeds, signals, devices."""
