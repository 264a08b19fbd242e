"""Places whose headers were read lately: asked again, they are not read again unless a file changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from medreasoner_monai.dicom.directory import is_directory
from medreasoner_monai.dicom.series import Found, open_dicom

State = tuple[tuple[str, int, int], ...]


class Opened:
    """What :func:`~medreasoner_monai.dicom.series.open_dicom` found, by path; may be shared by threads.

    For whoever asks about the same study more than once: a worklist, a server, an app of several steps.

    Parameters
    ----------
    most:
        Places kept, the ones used last. Each keeps the headers of all its series in memory.
    """

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._known: OrderedDict[Path, tuple[State, Found]] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, path: Path | str) -> Found:
        """What is at a path, its headers read now or, where no file changed in name, size or time, earlier.

        Raises
        ------
        DicomError
            As :func:`~medreasoner_monai.dicom.series.open_dicom`.
        """
        path = Path(path).absolute()
        state = _state(path)
        with self._lock:
            known = self._known.get(path)
            if known is not None and known[0] == state:
                self._known.move_to_end(path)
                return known[1]
        found = open_dicom(path)
        with self._lock:
            self._known[path] = state, found
            self._known.move_to_end(path)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return found


def _state(path: Path) -> State:
    """Name, size and time of each file that would be looked at."""
    root = path.parent if path.is_file() and is_directory(path) else path
    files = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root] if root.is_file() else []
    return tuple((str(p), (stat := p.stat()).st_size, stat.st_mtime_ns) for p in files)
