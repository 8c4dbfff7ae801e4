"""Benchmarks that anyone can run: `sparring bench theory` and `sparring bench modes`."""
