"""Pen data on disk: the database, its cache, recordings of a hand, and other formats of ink."""
