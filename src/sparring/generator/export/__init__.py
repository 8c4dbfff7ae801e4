"""Exports of a generator to run elsewhere, without this package."""
