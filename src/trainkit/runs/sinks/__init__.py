"""Who hears what a run says: console, metrics.jsonl and TensorBoard."""
