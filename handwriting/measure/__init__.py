"""What is measured of a network: likelihood, statistics of lines, legibility."""
