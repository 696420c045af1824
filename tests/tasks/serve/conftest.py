"""Fixtures for all tests of the gateway."""

from tests.support.gateway import no_weights

__all__ = ["no_weights"]
