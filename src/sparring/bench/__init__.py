"""Benchmarks that anyone can run: `sparring bench theory`, `sparring bench modes` and `sparring bench metrics`."""
