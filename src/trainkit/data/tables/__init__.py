"""Tables in files: reading, kinds of columns, encoding, splits."""
