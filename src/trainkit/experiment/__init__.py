"""The whole file as one value: its sections and their rules, how it becomes parts, grids of it."""
