"""The database of a study, any that Optuna knows: how it is opened, and what it says where it cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sparring.errors import UsageError


def load_optuna() -> Any:
    """Optuna, which is an extra.

    Raises:
        UsageError: if it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UsageError("a study needs Optuna: pip install 'sparring[study]'") from None
    return optuna


def opened(url: str, num_attempts: int = 50) -> Any:
    """The database, with its tables; where others make them at the same time, one is refused, and looks again."""
    from sqlalchemy.exc import DBAPIError, IntegrityError

    try:
        return load_optuna().storages.RDBStorage(url)
    except DBAPIError as error:
        is_race = isinstance(error, IntegrityError) or "already exists" in str(error)
        if not is_race or num_attempts == 1:
            raise
    except RuntimeError as error:  # of another version of Optuna
        raise UsageError(f"cannot use the database {shown(url)}: {error}") from error
    return opened(url, num_attempts - 1)


@contextmanager
def database_errors(url: str) -> Iterator[None]:
    """What a database refuses is told as bad use, whenever it does."""
    optuna = load_optuna()
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except UsageError:
        raise
    except (optuna.exceptions.OptunaError, SQLAlchemyError, ImportError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(f"cannot use the database {shown(url)}: {reason}") from error


def shown(url: str) -> str:
    """Without the password that it may hold."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "that `storage` names"
