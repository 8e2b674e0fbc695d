"""Pictures in files: which there are, how they are decoded, scaled and kept."""
