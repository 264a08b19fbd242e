"""OpenSSH's SFTP server on the loopback address, for as long as a test needs a store that machines share."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medreasoner_monai.pipeline.prefect_server import free_port, port_is_free
from medreasoner_monai.pipeline.processes import die_with_parent

SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")


@dataclass(frozen=True)
class SftpStore:
    """A running server: the store's URL and what fsspec needs to log in."""

    url: str
    options: dict[str, Any]
    folder: Path
    process: subprocess.Popen[bytes]


@contextmanager
def sftp_store(folder: Path, *, read_only: bool = False) -> Iterator[SftpStore]:
    """An SFTP server for this user alone, whose store lies in ``folder / "store"``."""
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(sshd).is_file() or not SFTP_SERVER.is_file():
        reason = "OpenSSH's server is not installed: apt-get install openssh-server"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    authorized = folder / "authorized_keys"
    authorized.write_text((folder / "user.pub").read_text())
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile {folder / 'pid'}\n"
        f"AuthorizedKeysFile {authorized}\nPasswordAuthentication no\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n"
        f"MaxStartups 100\nSubsystem sftp {SFTP_SERVER}{' -R' if read_only else ''}\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # where it gives up its privileges
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(config)],
            stderr=log,
            stdout=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call
        )
    try:
        deadline = time.monotonic() + 20
        while port_is_free(port) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        assert process.poll() is None, (folder / "sshd.log").read_text()
        (folder / "store").mkdir()
        yield SftpStore(
            f"sftp://{getpass.getuser()}@127.0.0.1:{port}{folder / 'store'}",
            {"key_filename": str(folder / "user"), "look_for_keys": False, "allow_agent": False},
            folder / "store",
            process,
        )
    finally:
        process.terminate()
        process.wait(10)
