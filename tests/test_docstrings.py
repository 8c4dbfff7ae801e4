"""Every Example runs, and every public name is documented."""

import doctest
import importlib
import inspect
import pkgutil

import pytest
import torch

import sparring

MODULES = [name for _, name, _ in pkgutil.walk_packages(sparring.__path__, "sparring.") if "__main__" not in name]


@pytest.mark.usefixtures("short_divergence")
@pytest.mark.parametrize("name", ["sparring", *MODULES])
def test_examples_run(name: str) -> None:
    torch.manual_seed(0)
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in finder.find(module, name, globs=vars(module).copy()):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("name", [name for name in sparring.__all__ if callable(getattr(sparring, name))])
def test_public_names_are_documented_with_an_example(name: str) -> None:
    thing = getattr(sparring, name)
    documentation = inspect.getdoc(thing) or ""
    assert documentation
    is_error = inspect.isclass(thing) and issubclass(thing, Exception)
    records, interfaces = (
        {"Alarm", "Report", "Objective", "Run"},
        {"Source", "Penalty", "Restraint", "Listener", "Modality"},
    )
    assert is_error or name in records | interfaces or ">>>" in documentation


@pytest.mark.parametrize("objective", sparring.OBJECTIVES.values(), ids=sparring.OBJECTIVES)
def test_losses_name_their_source(objective: sparring.Objective) -> None:
    for loss in (objective.discriminator, objective.generator):
        assert "Source:" in (inspect.getdoc(loss) or "")
        assert "Example:" in (inspect.getdoc(loss) or "")
