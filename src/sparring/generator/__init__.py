"""The trained generator: load it, sample from it, save it."""
