"""A trained model at work: loading a checkpoint, evaluating it, predictions of new samples."""
