"""Texts: their characters, lines that say them, and the writing of a given text in a hand."""
