"""Tasks on many items, here or elsewhere."""
