"""The catalogue in docs/ is the one that the registries make."""

from pathlib import Path

from sparring.catalogue import markdown


def test_the_page_is_up_to_date() -> None:
    page = Path(__file__).parent.parent / "docs" / "catalogue.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run: python benchmarks/catalogue.py"
