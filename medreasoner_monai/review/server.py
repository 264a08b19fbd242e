"""The review server: a page, the pictures of a data set, and verdicts into the store.

What a reader is told of a sample is the sample: neither whether it is a gold item, nor what a model or another reader
said. Adjudicators are told the readings, without names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.data.review.applied import check_edit, contents_of
from medreasoner_monai.data.review.events import Event, Judgement, picture_digest
from medreasoner_monai.data.review.events import Field as Part
from medreasoner_monai.data.review.outcome import Content, content_of
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import encode_png
from medreasoner_monai.errors import InputError, MedReasonerError
from medreasoner_monai.review.board import Board
from medreasoner_monai.review.runs import from_runs, to_runs
from medreasoner_monai.review.security import Doors, Guard
from medreasoner_monai.segmenters.protocol import Prompt
from medreasoner_monai.segmenters.registry import build
from medreasoner_monai.task.geometry import Box

STATIC = Path(__file__).with_name("static")
_CLOSED = "this session has ended; open the address that `medreasoner review` printed when it was started"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Said(_Body):
    """A verdict as the page sends it."""

    sample: str
    field: Part
    verdict: Literal["accept", "edit", "reject", "withdraw"]
    client: str = Field(min_length=8, max_length=64)
    text: str | None = Field(None, max_length=20_000)
    runs: list[int] | None = None
    comment: str = Field("", max_length=2000)


class Asked(_Body):
    """A box to segment in, ``x1, y1, x2, y2`` in the picture's pixels."""

    box: tuple[float, float, float, float]


def _who(request: Request) -> str:
    doors: Doors = request.app.state.doors
    name = doors.reviewer(request)
    if name is None:
        raise HTTPException(401, _CLOSED)
    return name


Who = Annotated[str, Depends(_who)]
"""The reviewer who sends a request."""


def make_app(board: Board, doors: Doors) -> FastAPI:
    """The server as an ASGI application."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.doors = doors
    app.add_middleware(Guard)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.exception_handler(MedReasonerError)
    def refused(_: Request, error: MedReasonerError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(HTTPException)
    def closed(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code)

    @app.get("/open/{token}")
    def enter(token: str) -> Response:
        session = doors.enter(token)
        if session is None:
            raise HTTPException(403, _CLOSED)
        response = RedirectResponse("/", 303)
        response.set_cookie(doors.cookie, session, httponly=True, samesite="strict", path="/")
        return response

    @app.get("/")
    def page() -> Response:
        return FileResponse(STATIC / "index.html")

    @app.get("/api/session")
    def session(name: Who) -> dict[str, Any]:
        adjudicates = name in board.plan.adjudicators
        return {
            "reviewer": name,
            "role": "adjudicator" if adjudicates else "reader",
            "dataset": board.data.name,
            "digest": board.data.digest,
            "notice": RESEARCH_USE,
            "readings": board.plan.readings,
        }

    @app.get("/api/queue")
    def positions(name: Who) -> dict[str, Any]:
        names = board.queue(name)
        return {"samples": names, "done": [board.done(sample, name) for sample in names]}

    @app.get("/api/next")
    def following(name: Who, after: str | None = None) -> dict[str, Any]:
        return {"sample": board.next(name, after)}

    @app.get("/api/sample")
    def sample(name: Who, id: str) -> dict[str, Any]:  # noqa: A002 - the parameter's name in the address
        loaded = _loaded(board, name, id)
        board.open(id, name)
        return _shown(board, loaded, name)

    @app.get("/api/picture")
    def picture(name: Who, id: str) -> Response:  # noqa: A002
        data = encode_png(_loaded(board, name, id).image)
        return Response(data, media_type="image/png", headers={"cache-control": "private, max-age=3600"})

    @app.post("/api/verdict")
    def verdict(name: Who, said: Said) -> dict[str, Any]:
        return _event(board.add(_judgement(board, _loaded(board, name, said.sample), said, name)))

    @app.post("/api/undo")
    def undo(name: Who, client: str) -> dict[str, Any]:
        board.refresh()
        latest = board.latest(name)
        if latest is None:
            return {"sample": None}
        loaded = _loaded(board, name, latest.sample)
        said = Said(sample=latest.sample, field=latest.field, verdict="withdraw", client=client)
        return _event(board.add(_judgement(board, loaded, said, name)))

    engine = build("classical")

    @app.post("/api/segment")
    def segment(name: Who, id: str, asked: Asked) -> dict[str, Any]:  # noqa: A002
        loaded = _loaded(board, name, id)
        try:
            box = Box(*asked.box, loaded.frame)
        except ValueError as error:
            raise InputError(f"the box cannot be used: {error}") from None
        if not box.within():
            raise InputError(f"the box {box.xyxy} lies outside the picture")
        (mask,) = engine.segment(engine.embed(loaded.image), [Prompt(box=box)])
        return {"runs": to_runs(mask)}

    return app


def _loaded(board: Board, name: str, sample: str) -> Sample:
    if sample not in board.data.by_id or (
        name in board.plan.adjudicators and sample not in board.queue(name)
    ):  # an adjudicator sees what is disputed, and nothing before
        raise HTTPException(404, f"there is no sample {sample[:80]} for you to judge")
    loaded = board.data.get(sample)
    assert loaded is not None
    return loaded


def _shown(board: Board, sample: Sample, name: str) -> dict[str, Any]:
    board.refresh()
    parts = contents_of(sample)
    mine = board.verdicts(sample.id, name)
    shown: dict[str, Any] = {
        "id": sample.id,
        "category": sample.category,
        "supercategory": sample.supercategory,
        "modality": sample.modality,
        "present": sample.present,
        "spacing": sample.spacing,
        "columns": sample.frame.width,
        "rows": sample.frame.height,
        "colour": sample.image.ndim == 3,
        "parts": {field: _content(content) for field, content in parts.items()},
        "verdicts": {f: _verdict(board, event, parts[f]) for f, event in mine.items() if f in parts},
    }
    if name in board.plan.adjudicators:
        shown["disputed"] = [f for f, o in board.outcomes(sample.id).items() if o.state == "disputed"]
        shown["readings"] = _readings(board, sample, parts)
    return shown


def _readings(board: Board, sample: Sample, parts: Mapping[Part, Content]) -> list[dict[str, Any]]:
    """What the readers said, by a letter each: the order of names says nothing about who came first."""
    found: dict[str, dict[str, Any]] = {}
    for event in board.heads(sample.id):
        if event.role == "reader" and event.field in parts:
            found.setdefault(event.reviewer, {})[event.field] = _verdict(board, event, parts[event.field])
    return [found[reader] for reader in sorted(found)]


def _content(content: Content) -> dict[str, Any]:
    return {"text": content} if isinstance(content, str) else {"runs": to_runs(np.asarray(content))}


def _verdict(board: Board, event: Event, original: Content) -> dict[str, Any]:
    changed = _content(content_of(event, original, board.store.value)) if event.verdict == "edit" else {}
    return {"verdict": event.verdict, "comment": event.comment, "at": event.at, **changed}


def _shape(sample: Sample) -> tuple[int, int]:
    return sample.frame.height, sample.frame.width


def _event(event: Event) -> dict[str, Any]:
    return {"seq": event.seq, "sample": event.sample, "field": event.field, "verdict": event.verdict, "at": event.at}


def _judgement(board: Board, sample: Sample, said: Said, name: str) -> Judgement:
    seen = board.seen(sample.id)
    if said.field not in seen:
        raise InputError(f"sample {sample.id} has no {said.field} to judge")
    value: bytes | None = None
    if said.verdict == "edit":
        is_mask = said.field == "mask"
        content: Content = from_runs(said.runs or [], _shape(sample)) if is_mask else said.text or ""
        checked = check_edit(said.field, content, sample)
        value = checked.encode() if isinstance(checked, str) else encode_png(checked)
    return Judgement(
        reviewer=name,
        sample=sample.id,
        picture=picture_digest(sample.image),
        field=said.field,
        seen=seen[said.field],
        verdict=said.verdict,
        client=said.client,
        value=value,
        comment=said.comment.strip(),
        role="adjudicator" if name in board.plan.adjudicators else "reader",
    )
