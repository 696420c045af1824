"""A model of the local Hub, as the tests of downloads plan it."""

from typing import Any

import pytest

from tasks.base import ModelFolderError
from tasks.hub.names import Source
from tasks.hub.repository import DownloadPlan, look_up

ID = "someone/model"
WEIGHTS = "model.safetensors"
PARAMETERS = 500_000  # 2 MB


def plan(revision: str = "main", hub_id: str = ID, **options: Any) -> DownloadPlan:
    return look_up(Source(hub_id, revision), **{"gguf": False, **options})


def failure(call: Any) -> str:
    """The one line with which `call` fails."""
    with pytest.raises(ModelFolderError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)
