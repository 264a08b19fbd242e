"""Show results over their images in OHIF, from an archive of their own that is gone at the end.

python -m tests.integrations.viewer FOLDER…
"""

from __future__ import annotations

import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom.files import is_dicom
from tests.integrations.viewer import ohif
from tests.integrations.viewer.orthanc import running
from tests.integrations.viewer.serve import serving


def main(folders: list[str]) -> int:
    """Until interrupted."""
    for folder in folders:
        if not folder or not Path(folder).is_dir():
            print(f"{folder or '(nothing given)'}: no such folder; give the series' folder and the answer's")
            return 2
    files = [f for folder in folders for f in sorted(Path(folder).rglob("*")) if f.is_file() and is_dicom(f)]
    if not files:
        print(f"{', '.join(folders) or 'no folder given'}: no DICOM file there")
        return 2
    dist = ohif.fetch()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="medreasoner-viewer-") as work, running(Path(work)) as archive:
        archive.store(*files)
        with serving(dist, archive.url) as address:
            print(f"{len(files)} files stored. {RESEARCH_USE}")
            for study in archive.get("studies").json():
                print(f"  {address}/viewer?StudyInstanceUIDs={study['0020000D']['Value'][0]}")
            print("Double-click the SEG series, then Yes. Ctrl-C ends it; nothing is kept.", flush=True)
            with suppress(KeyboardInterrupt):
                signal.pause()
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except RuntimeError as error:
        raise SystemExit(str(error)) from None
