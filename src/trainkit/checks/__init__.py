"""What is told before a long training: check, summaries, overfit, lr-find, doctor."""
