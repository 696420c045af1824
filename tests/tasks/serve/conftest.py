"""Fixtures for all tests of the gateway."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.support.gateway import no_weights, parts

__all__ = ["no_weights"]


@pytest.fixture(scope="module")
def client(no_weights: None) -> Iterator[TestClient]:
    """Asks a gateway over tasks of no weights."""
    with TestClient(parts().app, base_url="http://127.0.0.1") as client:
        yield client
