"""The command line: words in, a call, lines out; the only place that exits."""
