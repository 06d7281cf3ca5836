"""What routes are handed: the parts that `create_app` put into `app.state`."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from server.engine import Engine
from server.metrics import Metrics
from server.settings import Settings

__all__ = ["EnginePart", "MetricsPart", "SettingsPart"]


async def _engine(connection: HTTPConnection) -> Engine:
    part = connection.app.state.engine
    assert isinstance(part, Engine)
    return part


async def _metrics(connection: HTTPConnection) -> Metrics:
    part = connection.app.state.metrics
    assert isinstance(part, Metrics)
    return part


async def _settings(connection: HTTPConnection) -> Settings:
    part = connection.app.state.settings
    assert isinstance(part, Settings)
    return part


EnginePart = Annotated[Engine, Depends(_engine)]
MetricsPart = Annotated[Metrics, Depends(_metrics)]
SettingsPart = Annotated[Settings, Depends(_settings)]
