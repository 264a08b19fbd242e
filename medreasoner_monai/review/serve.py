"""Running the review server until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

import uvicorn

from medreasoner_monai.errors import InputError
from medreasoner_monai.review.board import Board
from medreasoner_monai.review.security import Doors
from medreasoner_monai.review.server import make_app

ADDRESS = "127.0.0.1"


def serve(board: Board, port: int, announce: Callable[[Mapping[str, str]], None]) -> None:
    """Serve until Ctrl-C.

    Parameters
    ----------
    board:
        The review; its store is bound to its data set already.
    port:
        On the loopback address; 0 takes a free one.
    announce:
        Called once, with each reviewer's address by name, when they can be opened.

    Raises
    ------
    InputError
        If the port is taken.
    """
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((ADDRESS, port))
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from None
        listening.listen()
        port = listening.getsockname()[1]
        doors = Doors.of((*board.plan.readers, *board.plan.adjudicators), port)
        # No access log: the addresses in it would hold tokens and sample ids.
        config = uvicorn.Config(make_app(board, doors), access_log=False, log_level="warning", server_header=False)
        announce({name: f"http://{ADDRESS}:{port}/open/{token}" for token, name in doors.tokens.items()})
        uvicorn.Server(config).run(sockets=[listening])
