"""The mathematics of the game. It knows no files and no modalities."""
