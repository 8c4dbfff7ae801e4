"""Writes docs/catalogue.md: everything there is by name. Run it from the top of the project."""

from pathlib import Path

from sparring.catalogue import markdown

if __name__ == "__main__":
    Path("docs/catalogue.md").write_text(markdown(), encoding="utf-8")
