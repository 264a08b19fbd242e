"""The DICOM libraries quote values in their warnings and logs; none of that may be seen."""

import subprocess
import sys
import warnings
from pathlib import Path

from pydicom import dcmread

from tests.dicom.tools import carried

# Six threads read a file whose date and character set pydicom warns of, with every log and warning shown.
SEVERAL_THREADS = """
import logging, sys, threading
logging.basicConfig(level=logging.DEBUG)
from medreasoner_monai.dicom.series import choose_series

logging.getLogger("medreasoner_monai").setLevel(logging.ERROR)  # repairs are said, by attribute name
sys.setswitchinterval(1e-6)
together = threading.Barrier(6)

def read():
    together.wait()
    for _ in range(30):
        choose_series(sys.argv[1]).view(0)

threads = [threading.Thread(target=read) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def test_threads_do_not_lift_each_others_silence(tmp_path: Path) -> None:
    dataset = dcmread(carried("CT_small.dcm"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.StudyDate, dataset.SpecificCharacterSet = "the first of May", "KLINGON"
        dataset.save_as(tmp_path / "ct.dcm")
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", SEVERAL_THREADS, str(tmp_path / "ct.dcm")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_warnings_of_others_are_still_shown() -> None:
    script = "import medreasoner_monai.dicom, logging, warnings; warnings.warn('ours'); logging.warning('theirs')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert "UserWarning: ours" in done.stderr and "WARNING:root:theirs" in done.stderr
