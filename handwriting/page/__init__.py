"""The page that writes: what it consists of, and what puts it together."""
