"""A run: its directory, its checkpoints, what it says while it lasts, and what it has left."""
