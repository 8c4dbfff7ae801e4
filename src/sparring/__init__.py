"""sparring trains Generative Adversarial Networks. Two networks make each other better: that is the name.

>>> import sparring
>>> sorted(sparring.OBJECTIVES)
['hinge', 'least_squares', 'minimax', 'non_saturating', 'relativistic', 'wasserstein']

Each name is imported on first use, so `import sparring` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the only list of public names: type checkers and `_HOME` read it
    from sparring import metrics as metrics
    from sparring import theory as theory
    from sparring.data.items import Items as Items
    from sparring.data.mixtures import Mixture as Mixture
    from sparring.errors import CheckpointError as CheckpointError
    from sparring.errors import DataError as DataError
    from sparring.errors import DivergenceError as DivergenceError
    from sparring.errors import ProcessError as ProcessError
    from sparring.errors import RunFolderError as RunFolderError
    from sparring.errors import SparringError as SparringError
    from sparring.errors import SparringWarning as SparringWarning
    from sparring.errors import TrainingError as TrainingError
    from sparring.errors import UnknownNameError as UnknownNameError
    from sparring.errors import UsageError as UsageError
    from sparring.evaluation.card import Card as Card
    from sparring.evaluation.health import Alarm as Alarm
    from sparring.evaluation.health import Doctor as Doctor
    from sparring.game.ema import Average as Average
    from sparring.game.game import Game as Game
    from sparring.game.game import Report as Report
    from sparring.game.objectives import OBJECTIVES as OBJECTIVES
    from sparring.game.objectives import Objective as Objective
    from sparring.game.penalties import PENALTIES as PENALTIES
    from sparring.game.penalties import R1 as R1
    from sparring.game.penalties import R1R2 as R1R2
    from sparring.game.penalties import R2 as R2
    from sparring.game.penalties import Dragan as Dragan
    from sparring.game.penalties import GradientPenalty as GradientPenalty
    from sparring.game.penalties import Penalty as Penalty
    from sparring.game.penalties import SpectralNorm as SpectralNorm
    from sparring.game.penalties import WeightClipping as WeightClipping
    from sparring.game.restraints import RESTRAINTS as RESTRAINTS
    from sparring.game.restraints import Restraint as Restraint
    from sparring.game.sources import Gaussian as Gaussian
    from sparring.game.sources import Source as Source
    from sparring.game.sources import Uniform as Uniform
    from sparring.generator.generator import Generator as Generator
    from sparring.generator.generator import load as load
    from sparring.modalities import MODALITIES as MODALITIES
    from sparring.modalities import RECIPES as RECIPES
    from sparring.modalities import SOURCES as SOURCES
    from sparring.modalities import open_dataset as open_dataset
    from sparring.modalities.modality import Modality as Modality
    from sparring.networks import NETWORKS as NETWORKS
    from sparring.networks import Discriminator as Discriminator
    from sparring.networks import Network as Network
    from sparring.study.study import Study as Study
    from sparring.training.evaluate import evaluate as evaluate
    from sparring.training.evaluate import evaluate_dictionary as evaluate_dictionary
    from sparring.training.loop import Listener as Listener
    from sparring.training.recipe import Recipe as Recipe
    from sparring.training.run_folder import Run as Run
    from sparring.training.trackers import TRACKERS as TRACKERS
    from sparring.training.trackers import Tracker as Tracker
    from sparring.training.train import resume as resume
    from sparring.training.train import train as train
    from sparring.web.report import diagnose as diagnose

with open(__file__, encoding="utf-8") as _file:
    _HOME = {line.split()[3]: line.split()[1] for line in _file if line.startswith("    from sparring")}
"""The module of each public name."""

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("sparring")
    if name not in _HOME:
        raise AttributeError(f"module 'sparring' has no attribute {name!r}")
    home = _HOME[name]
    value = import_module(f"sparring.{name}") if home == "sparring" else getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
