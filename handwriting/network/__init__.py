"""What the network of model.py is made of: density, cells, window, fast loop, sampling, weights."""
