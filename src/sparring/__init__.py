"""sparring trains Generative Adversarial Networks. Two networks make each other better: that is the name.

>>> import sparring
>>> sorted(sparring.OBJECTIVES)
['hinge', 'least_squares', 'minimax', 'non_saturating', 'relativistic', 'wasserstein']

Names are imported when they are first used, so that `import sparring` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparring.data import SOURCES, Gaussian, Items, Mixture, Source, Uniform, open_dataset
    from sparring.ema import Average
    from sparring.errors import (
        CheckpointError,
        DataError,
        DivergenceError,
        ProcessError,
        RunFolderError,
        SparringError,
        SparringWarning,
        TrainingError,
        UnknownNameError,
        UsageError,
    )
    from sparring.evaluation import Card, evaluate
    from sparring.game import Game, Report
    from sparring.generator import Generator, load
    from sparring.health import Alarm, Doctor
    from sparring.networks import NETWORKS, Discriminator, Network
    from sparring.objectives import OBJECTIVES, Objective
    from sparring.penalties import (
        PENALTIES,
        R1,
        R1R2,
        R2,
        Dragan,
        GradientPenalty,
        Penalty,
        SpectralNorm,
        WeightClipping,
    )
    from sparring.recipes import RECIPES, Recipe
    from sparring.report import diagnose
    from sparring.run import Run
    from sparring.study.study import Study
    from sparring.training import resume, train

_HOME = {
    "sparring.data": ("SOURCES", "Gaussian", "Items", "Mixture", "Source", "Uniform", "open_dataset"),
    "sparring.ema": ("Average",),
    "sparring.errors": (
        "CheckpointError",
        "DataError",
        "DivergenceError",
        "ProcessError",
        "RunFolderError",
        "SparringError",
        "SparringWarning",
        "TrainingError",
        "UnknownNameError",
        "UsageError",
    ),
    "sparring.evaluation": ("Card", "evaluate"),
    "sparring.game": ("Game", "Report"),
    "sparring.generator": ("Generator", "load"),
    "sparring.health": ("Alarm", "Doctor"),
    "sparring.networks": ("NETWORKS", "Discriminator", "Network"),
    "sparring.objectives": ("OBJECTIVES", "Objective"),
    "sparring.penalties": (
        "PENALTIES",
        "R1",
        "R1R2",
        "R2",
        "Dragan",
        "GradientPenalty",
        "Penalty",
        "SpectralNorm",
        "WeightClipping",
    ),
    "sparring.recipes": ("RECIPES", "Recipe"),
    "sparring.report": ("diagnose",),
    "sparring.run": ("Run",),
    "sparring.study.study": ("Study",),
    "sparring.training": ("resume", "train"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "NETWORKS",
    "OBJECTIVES",
    "PENALTIES",
    "R1",
    "R1R2",
    "R2",
    "RECIPES",
    "SOURCES",
    "Alarm",
    "Average",
    "Card",
    "CheckpointError",
    "DataError",
    "Discriminator",
    "DivergenceError",
    "Doctor",
    "Dragan",
    "Game",
    "Gaussian",
    "Generator",
    "GradientPenalty",
    "Items",
    "Mixture",
    "Network",
    "Objective",
    "Penalty",
    "ProcessError",
    "Recipe",
    "Report",
    "Run",
    "RunFolderError",
    "Source",
    "SparringError",
    "SparringWarning",
    "SpectralNorm",
    "Study",
    "TrainingError",
    "Uniform",
    "UnknownNameError",
    "UsageError",
    "WeightClipping",
    "diagnose",
    "evaluate",
    "load",
    "open_dataset",
    "resume",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sparring' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_MODULE_OF]
