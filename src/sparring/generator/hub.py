"""Generators on the Hugging Face hub: the address hf://owner/name@revision, and what its errors mean.

The revision is a branch, a tag or a commit, `main` if it is left out. Only a generator's two files are downloaded, into
the hub's own cache; a commit that is there already asks nothing of the network.
"""

import errno
import hashlib
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from sparring.errors import SparringWarning, UsageError, how_to_install
from sparring.files import read_json
from sparring.generator.config import Config

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PREFIX = "hf://"
FILES = CONFIG, WEIGHTS = "config.json", "model.safetensors"
MAX_CONFIG_BYTES = 2**29  # the vocabularies of two languages may be in it
MAX_HEADER_BYTES = 2**20  # of the weights' file, beside the weights


def find_folder(path: str | PathLike[str], module: nn.Module | None = None) -> Path:
    """Where a generator is on this machine: the path as it is, or a folder to which an address was downloaded.

    Args:
        path: of a file or folder, or `hf://owner/name@revision`.
        module: a network of the caller's own, whose weights are there.

    Raises:
        UsageError: if an address is wrong, holds no generator or one that is larger than its config says, or the hub
            cannot be reached and nothing was downloaded before.
    """
    text = fspath(path)
    # pathlib makes one of two slashes
    return _download(text.partition("/")[2].strip("/"), module) if text.startswith("hf:/") else Path(path).expanduser()


def parse_address(address: str) -> tuple[str, str]:
    """The repository and the revision of `owner/name@revision`; a UsageError if it is none.

    Example:
        >>> parse_address("me/digits")
        ('me/digits', 'main')
    """
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w.+/-]+))?", address, re.ASCII)
    if match is None:
        raise UsageError(f"{address!r} names no repository of the hub: give owner/name, or {PREFIX}owner/name@revision")
    return match[1], match[2] or "main"


def open_hub() -> "HfApi":
    """The hub at $HF_ENDPOINT, huggingface.co by default; a UsageError without the extra `hub`."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError as error:
        raise UsageError(
            f"the hub needs huggingface_hub ({error}): pip install 'sparring[hub]', which is {how_to_install('hub')}"
        ) from error
    if not sys.stderr.isatty():
        disable_progress_bars()
    return HfApi(library_name="sparring")


@contextmanager
def explain_hub_errors(repository: str, revision: str = "main") -> Iterator[None]:
    """Inside it, what the hub refuses, and a hub that cannot be reached, is a UsageError."""
    import huggingface_hub.errors as hub
    from httpx2 import HTTPError

    log_in = "log in by `hf auth login`, or set HF_TOKEN"
    try:
        yield
    except UsageError:
        raise
    except hub.GatedRepoError as error:
        raise UsageError(f"{repository} asks who you are: accept its terms on its page, and {log_in}") from error
    except hub.RepositoryNotFoundError as error:
        raise UsageError(
            f"the hub has no repository {repository!r}, or does not show it to you: check the name, and {log_in}"
        ) from error
    except hub.RevisionNotFoundError as error:
        raise UsageError(f"{repository} has no revision {revision!r}: leave it away for the newest one") from error
    except hub.RemoteEntryNotFoundError as error:
        raise UsageError(f"{repository} at {revision} holds no generator: it lacks {CONFIG} or {WEIGHTS}") from error
    except hub.HFValidationError as error:
        raise UsageError(f"the hub takes no such name as {repository!r}: {error}") from error
    except hub.HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            message = f"the hub refuses your token for {repository}: give one that may do this: {log_in}"
            raise UsageError(message) from error
        raise UsageError(f"the hub refused {repository}: {error.server_message or error}") from error
    except (hub.OfflineModeIsEnabled, HTTPError) as error:
        raise UsageError(f"the hub cannot be reached ({error or type(error).__name__}): try again later") from error
    except (ValueError, RuntimeError) as error:  # a model card that it does not take, or an upload that failed
        raise UsageError(f"the hub refused {repository}: {error.__cause__ or error}") from error
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else str(error)
        raise UsageError(f"cannot keep {repository}: {what}") from error


def _download(address: str, module: nn.Module | None) -> Path:
    """The folder in the hub's cache with the generator at an address."""
    repository, revision = parse_address(address)
    hub = open_hub()
    from httpx2 import TransportError
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import OfflineModeIsEnabled

    def ask(name: str, revision: str, limit: int) -> str:
        """What the hub calls the content of a file that is no larger than the limit."""
        told = get_hf_file_metadata(hf_hub_url(repository, name, revision=revision))
        if told.size is None or told.size > limit:
            raise UsageError(f"{name} of {repository} has {told.size or 0:,} bytes: at most {limit:,} are expected")
        return told.etag or ""

    cached = _find_cached(repository, revision)
    if cached is not None and cached.name == revision:
        return cached
    with explain_hub_errors(repository, revision):
        try:
            etag = ask(CONFIG, revision, MAX_CONFIG_BYTES)
        except (OfflineModeIsEnabled, TransportError):
            if cached is None:
                raise
            message = f"the hub cannot be reached: {repository} is the one downloaded before, @{cached.name}"
            warnings.warn(SparringWarning(message), stacklevel=2)
            return cached
        config_file = Path(hub.hf_hub_download(repository, CONFIG, revision=revision))
        _check_content(config_file, etag)
    commit, config = config_file.parent.name, read_json(config_file, Config)
    tensors = (config.build_empty() if module is None else module).state_dict().values()
    size = sum(each.numel() * each.element_size() for each in tensors)
    with explain_hub_errors(repository, revision):
        etag = ask(WEIGHTS, commit, size + MAX_HEADER_BYTES)
        _check_content(Path(hub.hf_hub_download(repository, WEIGHTS, revision=commit)), etag)
    return config_file.parent


def _check_content(path: Path, etag: str) -> None:
    """Delete a downloaded file that is not what the hub said: the SHA-256 of a large file, or git's name of another."""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", etag):
        return  # a mirror with names of its own
    with path.open("rb") as file:
        known = hashlib.sha256() if len(etag) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
        while part := file.read(2**20):
            known.update(part)
    if known.hexdigest() != etag:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise UsageError(f"{path.name} is not what the hub says that it is: it was damaged or changed on its way here")


def _find_cached(repository: str, revision: str) -> Path | None:
    """The folder of a revision whose files were downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(repository, name, revision=revision) for name in FILES]
    return Path(found[0]).parent if all(isinstance(each, str) for each in found) and found[0] else None
