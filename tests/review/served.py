"""A small data set, and a review server over it: in a thread for its interface, as a process to be killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import uvicorn

from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import write_split
from medreasoner_monai.pipeline.prefect_server import free_port
from medreasoner_monai.review.board import Board, Plan
from medreasoner_monai.review.dataset import ReviewedData
from medreasoner_monai.review.order import model_order
from medreasoner_monai.review.security import Doors
from medreasoner_monai.review.server import make_app
from tests.samples import absent_sample, sample

ROOT = Path(__file__).parents[2]
HEADERS = {"x-review": "1"}
FLAGS = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-sandbox",
    "--no-proxy-server",
]
"""Chromium without a screen, a graphics card or a way out."""


def samples() -> list[Sample]:
    """Grey ones, a coloured one, one without a trace and one whose target is absent."""
    grey = sample(1)
    colour = np.stack([grey.image, grey.image // 2, 255 - grey.image], axis=-1)
    return [
        sample(0),
        sample(1, image=colour),
        sample(2, trace=""),
        absent_sample(3),
        *(sample(n) for n in range(4, 8)),
    ]


def dataset(folder: Path) -> Path:
    """A curated folder of two splits."""
    folder.mkdir(parents=True)
    made = samples()
    write_split(folder / "train.parquet", made[:6])
    write_split(folder / "test.parquet", made[6:])
    return folder


@dataclass
class Running:
    """A server's addresses by reviewer, and what it serves."""

    board: Board
    addresses: Mapping[str, str]
    port: int

    def client(self, reviewer: str) -> httpx.Client:
        """A browser's cookies and habits, after the reviewer's address was opened."""
        made = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=HEADERS, trust_env=False)
        assert made.get(self.addresses[reviewer]).status_code == 303
        return made


@contextmanager
def serving(data: Path, store: Path, plan: Plan) -> Iterator[Running]:
    """The server in a thread of this process."""
    reviewed, reviews = ReviewedData(data), ReviewStore(store, create=True)
    reviewed.bind(reviews)
    order = model_order([e.id for e in reviewed.entries], None, "id")
    board = Board(reviewed, reviews, plan, order)
    port = free_port()
    doors = Doors.of((*plan.readers, *plan.adjudicators), port)
    server = uvicorn.Server(uvicorn.Config(make_app(board, doors), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Running(board, {n: f"http://127.0.0.1:{port}/open/{t}" for t, n in doors.tokens.items()}, port)
    server.should_exit = True
    thread.join(10)


class Process:
    """`medreasoner review` as people start it."""

    def __init__(self, data: Path, store: Path, port: int, *options: str) -> None:
        command = [sys.executable, "-m", "medreasoner_monai", "review", str(data), "--reviews", str(store)]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        )
        self.addresses: dict[str, str] = {}
        said = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said.append(line)
            if found := re.match(r"(\w+): (http://\S+)$", line):
                self.addresses[found[1]] = found[2]
            if "Ctrl-C" in line:
                return
        raise RuntimeError("it ended:\n" + "".join(said))

    def kill(self) -> None:
        """With no time for anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
