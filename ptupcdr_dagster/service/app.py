"""The service's endpoints: recommendations, health and metrics."""

import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated

import numba
from fastapi import FastAPI, HTTPException, Query
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ptupcdr_core import __version__
from ptupcdr_core.catalog import TOGETHER
from ptupcdr_core.errors import PtupcdrError
from ptupcdr_dagster.service.deployed import Deployed, watched
from ptupcdr_dagster.service.limits import BodyLimit
from ptupcdr_dagster.service.messages import MOST_ITEMS, Health, PairHealth, Person, Request, Response
from ptupcdr_dagster.service.metrics import Metrics

ABOUT = """Recommendations for people who are new in a domain, from their ratings in another one.

Each person in a request is answered separately: an unknown id gets the declared fallback, and the answer says so."""


def make_app(pairs: Mapping[str, Deployed], most_bytes: int) -> FastAPI:
    """The application.

    Args:
        pairs: What serves each pair, by key; new deployments are watched for while the application runs.
        most_bytes: Limit of a request's body.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with watched([*pairs.values()]):
            yield

    app = FastAPIOffline(title="ptupcdr", version=__version__, description=ABOUT, lifespan=lifespan, redoc_url=None)
    app.swagger_ui_parameters = {"defaultModelsExpandDepth": 0, "tryItOutEnabled": True}
    app.add_middleware(BodyLimit, most=most_bytes)
    metrics = Metrics(pairs)
    # More requests at a time than cores would only wait for each other, with all their vectors in memory.
    at_once = threading.BoundedSemaphore(numba.get_num_threads())

    def answered(request: Request) -> Response:
        pair = _chosen(pairs, request.pair)
        started, loaded = time.perf_counter(), pair.now
        with at_once:
            found = loaded.answers.to([one.asked() for one in request.people], request.k, request.eligible)
        metrics.note(pair.pair, [answer.status for answer in found], time.perf_counter() - started)
        return Response.model_validate(
            {"pair": pair.pair, "bundle": loaded.digest[:12], "people": found}, from_attributes=True
        )

    @app.post("/recommend", responses={404: {}, 413: {}, 503: {}})
    def recommend(request: Request) -> Response:
        """Recommend to people who are known by an id, or described by a history."""
        return answered(request)

    @app.get("/recommend", responses={404: {}, 503: {}})
    def recommend_one(
        user_id: str, pair: str | None = None, k: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 10
    ) -> Response:
        """Recommend to one person who is known by an id."""
        pair = pair and pair.replace(" ", TOGETHER)  # in a URL, + means a blank
        return answered(Request(people=[Person(user_id=user_id)], pair=pair, k=k))

    @app.get("/health")
    def health() -> Health:
        """Report what serves, and since when."""
        states = {key: _health(pair) for key, pair in pairs.items()}
        return Health(status="degraded" if any(one.problem for one in states.values()) else "ok", pairs=states)

    @app.get("/metrics", response_class=PlainTextResponse)
    def prometheus() -> PlainTextResponse:
        """Numbers for Prometheus."""
        return PlainTextResponse(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.exception_handler(PtupcdrError)
    def told(request: object, error: PtupcdrError) -> JSONResponse:
        metrics.failed()
        return JSONResponse({"detail": str(error)}, 503)

    return app


def _chosen(pairs: Mapping[str, Deployed], key: str | None) -> Deployed:
    if key is None and len(pairs) == 1:
        return next(iter(pairs.values()))
    if key is None or key not in pairs:
        what = "which pair?" if key is None else f"{key!r} is not served here;"
        raise HTTPException(404, f"{what} there are: {', '.join(pairs)}")
    return pairs[key]


def _health(pair: Deployed) -> PairHealth:
    loaded = pair.now
    served = loaded.answers.bundle.mode()[1]
    return PairHealth(
        bundle=loaded.digest[:12],
        loaded_at=loaded.at.isoformat(timespec="seconds"),
        modes=[*loaded.answers.bundle.modes],
        target_items=len(served.target_ids) - 1,
        search=pair.kind,
        problem=pair.problem,
    )
