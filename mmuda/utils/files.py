"""Files that are whole or not there."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that it is either the old or the new one, never half of it; its folder is made as needed.

    Raises:
        OSError: If it cannot be written; names it.
    """
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(part, path)
    except OSError as error:
        raise OSError(f'{path} could not be written ({error.strerror}): make room or mend the folder') from error
