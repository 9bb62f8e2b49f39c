"""Pictures of strokes and densities, sheets of paper, and plots."""
