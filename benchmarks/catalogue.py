"""Writes docs/catalogue.md: what there is by name. Run it from the top of the project."""

from pathlib import Path

from sparring.cli.catalogue import REGISTRIES


def markdown() -> str:
    """The registries as a page of docs/."""
    lines = ["# What there is by name", "", "Written by `python benchmarks/catalogue.py`; a test checks it.", ""]
    for kind, registry in REGISTRIES.items():
        lines += [f"## {kind.capitalize()}", "", "| name | what it is | source |", "|---|---|---|"]
        rows = ((name, entry.summary, getattr(entry, "source", "")) for name, entry in registry.items())
        lines += [f"| `{name}` | {summary} | {source} |" for name, summary, source in rows]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    Path("docs/catalogue.md").write_text(markdown(), encoding="utf-8")
