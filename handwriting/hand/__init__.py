"""Hands: what tells one from another, as a vector, and where hands come from."""
