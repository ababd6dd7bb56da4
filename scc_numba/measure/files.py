"""Files that are either written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def writable_folder(folder: Path) -> Path:
    """Make the folder if need be, and make sure that it can be written to.

    Raises:
        OSError: it cannot; the message names the folder. To be called before long work, not after.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror or str(error)
        raise OSError(f"cannot write to folder {str(folder)!r}: {reason}; nothing was started") from error
    return folder


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that nobody ever sees half of it: a new file that takes the old one's place."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode("utf-8") if isinstance(content, str) else content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's files are private; a report is as any other file
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
