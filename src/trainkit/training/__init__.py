"""The loop and what it is made of: losses, metrics, optimizers, schedulers, averages, records."""
