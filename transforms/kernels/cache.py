"""Where compiled kernels are kept: where numba keeps them, or in the folder for temporary files where it cannot.

numba looks for a folder that it can write: NUMBA_CACHE_DIR, `__pycache__` beside the source, the user's cache folder.
An installation that is read-only, run by an account without a home, has none of these, and numba gives up.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile

VARIABLE = "NUMBA_CACHE_DIR"

_HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__pycache__")


def settle() -> None:
    """Names a folder in NUMBA_CACHE_DIR, for this process and those it starts, if numba would find none.

    Call it before the folder for temporary files changes. Raises OSError, which says what to do, if the folder among
    the temporary files might not be this account's alone: what lies in it is run.
    """
    # As numba's own rule in `numba.core.caching`; numba itself, which takes a while to import, is not asked.
    users = os.path.join(os.getenv("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "numba")
    if any(folder and _can_be_written(folder) for folder in (os.environ.get(VARIABLE), _HERE, users)):
        return
    os.environ[VARIABLE] = _of_this_account()
    if numba := sys.modules.get("numba"):  # which has read its settings already
        numba.config.reload_config()


def _can_be_written(folder: str) -> bool:
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _of_this_account() -> str:
    """A folder among the temporary files that nobody else can read, write, or replace."""
    place = os.path.realpath(tempfile.gettempdir())
    folder = os.path.join(place, f"malmungchi-kernels-{os.geteuid()}")
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise _refused(folder, f"cannot be made ({error.strerror})") from None
    above, found = os.lstat(place), os.lstat(folder)
    # In a folder that others can write, only the sticky bit keeps them from putting theirs in the place of ours.
    replaceable = above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX
    if replaceable or above.st_uid not in (0, os.geteuid()):
        raise _refused(folder, f"others can replace it, since {place} is theirs too")
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != 0o700:
        raise _refused(folder, "is not a folder that belongs to this account alone (mode 0700)")
    if not _can_be_written(folder):
        raise _refused(folder, "cannot be written")
    return folder


def _refused(folder: str, why: str) -> OSError:
    return OSError(
        f"{folder}: {why}, so there is no place for compiled kernels; "
        f"set {VARIABLE} to a folder that only this account can write"
    )
