"""What the four scripts at the top level stand on."""
