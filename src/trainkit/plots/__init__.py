"""Whatever is drawn: pictures with captions, confusion matrices, charts."""
