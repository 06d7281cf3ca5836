"""`GET /metrics`, for Prometheus."""

from fastapi import APIRouter, Request, Response

from server.metrics import CONTENT_TYPE, Metrics

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Every counter of this process, in Prometheus' text format; what they mean is in docs/operations.md."""
    counters = request.app.state.metrics
    assert isinstance(counters, Metrics)
    return Response(counters.exposition(), media_type=CONTENT_TYPE)
