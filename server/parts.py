"""What routes are handed: the parts that `create_app` put into `app.state`."""

from typing import Annotated

from fastapi import Depends, Request

from server.engine import Engine
from server.settings import Settings

__all__ = ["EnginePart", "SettingsPart"]


async def _engine(request: Request) -> Engine:
    part = request.app.state.engine
    assert isinstance(part, Engine)
    return part


async def _settings(request: Request) -> Settings:
    part = request.app.state.settings
    assert isinstance(part, Settings)
    return part


EnginePart = Annotated[Engine, Depends(_engine)]
SettingsPart = Annotated[Settings, Depends(_settings)]
