"""Decoding in a process of its own, for decoders that end the whole process when a picture is damaged.

GDCM is the only decoder at hand for lossless JPEG and for 12-bit JPEG, and some damaged frames make it abort. One
helper process is started when it is first needed and kept; when it dies, that frame cannot be decoded and the next one
starts a new helper. Nothing is written to disk, and what the decoder prints is thrown away.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from medreasoner_monai.dicom.jpeg12 import decode_jpeg12

LIMIT_SECONDS = 60.0
"""A frame that takes longer is given up."""
GDCM_12_BIT = "gdcm, 12-bit JPEG"
"""In place of a plug-in's name: GDCM without pydicom's, which refuses such frames."""
_lock = threading.Lock()
_helper: tuple[int, subprocess.Popen[bytes]] | None = None


def decode(frame: bytes, syntax: str, options: dict[str, Any], plugin: str) -> NDArray[Any]:
    """Decode one compressed frame in the helper process.

    Parameters
    ----------
    frame:
        The codestream.
    options:
        Decoding options of pydicom for one frame.
    plugin:
        The decoder's name in pydicom, or :data:`GDCM_12_BIT`.

    Raises
    ------
    RuntimeError
        If the decoder refuses the frame, dies or takes too long.
    """
    with _lock:
        helper = _running()
        timer = threading.Timer(LIMIT_SECONDS, helper.kill)
        timer.start()
        try:
            assert helper.stdin is not None and helper.stdout is not None
            _send(helper.stdin, {"syntax": syntax, "options": options, "plugin": plugin}, frame)
            answer, data = _receive(helper.stdout)
        except (OSError, EOFError, ValueError):
            _stop()
            raise RuntimeError("the decoder ended") from None
        finally:
            timer.cancel()
    if "error" in answer:
        raise RuntimeError(str(answer["error"]))
    return np.frombuffer(bytearray(data), dtype=answer["dtype"]).reshape(answer["shape"])


def _running() -> subprocess.Popen[bytes]:
    """The helper of this process; a forked child must not share its parent's."""
    global _helper  # noqa: PLW0603 - one helper a process, whatever asks
    if _helper is not None and _helper[0] == os.getpid() and _helper[1].poll() is None:
        return _helper[1]
    package = str(Path(__file__).parents[2])
    paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    started = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths},
    )
    _helper = (os.getpid(), started)
    return started


def _stop() -> None:
    """End the helper and close its pipes."""
    global _helper
    if _helper is None or _helper[0] != os.getpid():
        return
    process, _helper = _helper[1], None
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what could not be sent is lost anyway
                pipe.close()
    process.wait()


atexit.register(_stop)


def _send(out: IO[bytes], header: dict[str, Any], data: bytes | memoryview) -> None:
    text = json.dumps({**header, "bytes": len(data)}).encode()
    out.write(len(text).to_bytes(4, "big") + text)
    out.write(data)
    out.flush()


def _receive(source: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    header = json.loads(_exactly(source, int.from_bytes(_exactly(source, 4), "big")))
    return header, _exactly(source, header["bytes"])


def _exactly(source: IO[bytes], count: int) -> bytes:
    data = source.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _decoded(frame: bytes, syntax: str, plugin: str, options: dict[str, Any]) -> NDArray[Any]:
    if plugin == GDCM_12_BIT:
        rows, columns = int(options["rows"]), int(options["columns"])
        return decode_jpeg12(frame, rows, columns, str(options["photometric_interpretation"]))
    return get_decoder(syntax).as_array(encapsulate([frame]), index=0, decoding_plugin=plugin, **options)[0]


def main() -> None:
    """The helper's side: decode until nobody sends any more."""
    # Decoders print to the standard output, which is the way back to the parent.
    out = io.FileIO(os.dup(1), "w")
    os.dup2(2, 1)
    while True:
        try:
            request, frame = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            array = _decoded(frame, request["syntax"], request["plugin"], request["options"])
        except Exception as error:  # each decoder has its own exceptions
            _send(out, {"error": type(error).__name__}, b"")
        else:
            whole = np.ascontiguousarray(array)
            _send(out, {"dtype": whole.dtype.str, "shape": whole.shape}, whole.data.cast("B"))


if __name__ == "__main__":
    main()
