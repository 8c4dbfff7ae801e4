"""From a recipe to a run's folder: the loop, its listeners, and what they write."""
