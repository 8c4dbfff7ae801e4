"""A study's database: any that Optuna supports."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparring.errors import UsageError, how_to_install
from sparring.files import read_json, write_json
from sparring.study.plan import Plan

MAX_ATTEMPTS = 50


@contextmanager
def open_database(url: str, name: str, folder: Path, plan: Plan) -> Iterator[Any]:
    """Open Optuna's study, or create it. While it is open, errors of the database become usage errors."""
    try:
        import optuna
    except ImportError:
        raise UsageError(f"a study needs Optuna: {how_to_install('study')}") from None
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path, shown = folder / "study.json", "that `storage` names"
    try:
        shown = repr(make_url(url))  # without its password
        storage = _open_storage(url)
        if not path.exists():  # not earlier: whoever finds it looks for the database's tables
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, {"folder": uuid.uuid4().hex})
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="minimize" if plan.less_is_better else "maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner() if plan.search else optuna.pruners.NopPruner(),
        )
        num_trials = len(study.get_trials(deepcopy=False))
        # Each start of a search draws other random numbers, and counts running trials as poor ones.
        study.sampler = optuna.samplers.TPESampler(seed=num_trials, constant_liar=True)
        # What must not change; trials may be added to a grid, and removed from it.
        own = read_json(path, dict) | {"metric": plan.metric, "num_samples": plan.num_samples}
        if plan.search:
            own |= json.loads(json.dumps({"settings": plan.settings, "space": asdict(plan.search)["space"]}))
        if num_trials == 0 and "plan" not in study.user_attrs:
            study.set_user_attr("plan", own)
        before = study.user_attrs.get("plan", {})
        if differing := sorted(key for key in own | before if before.get(key) != own.get(key)):
            raise UsageError(
                f"the database {shown} belongs to another study named {name!r}: {', '.join(differing)} differs: undo "
                "the change, or rename the file"
            )
        yield study
    except (optuna.exceptions.OptunaError, SQLAlchemyError, ImportError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(f"cannot use the database {shown}: {reason}") from error


def _open_storage(url: str) -> Any:
    """Open the database. Where several processes create its tables at once, all but one are refused, and try again."""
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import DBAPIError, IntegrityError

    num_attempts = 0
    while True:
        num_attempts += 1
        try:
            return RDBStorage(url)
        except DBAPIError as error:
            is_race = isinstance(error, IntegrityError) or "already exists" in str(error)
            if not is_race or num_attempts == MAX_ATTEMPTS:
                raise
        except RuntimeError as error:  # of another version of Optuna
            raise StorageInternalError(str(error)) from error
