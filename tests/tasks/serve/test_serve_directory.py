"""Which version is meant, and that the registry is not asked for every request."""

import asyncio

import pytest
from mlflow.exceptions import MlflowException

from tasks.base import TaskInputError
from tasks.registry import ModelNotFoundError
from tasks.runs import StoreUnreachableError
from tasks.serve import directory
from tasks.serve.directory import Directory, default_version
from tests.support.gateway import Registry, until, version


def test_the_champion_is_meant_where_no_model_is_named() -> None:
    own, other = version("summarization", "summarization", 3), version("news", "summarization")
    assert default_version("summarization", [other, own]) is own
    assert default_version("summarization", [other]) is other
    retired = version("news", "summarization", 2, champion=False)
    with pytest.raises(ModelNotFoundError, match="no champion in the registry; valid for model: news/2"):
        default_version("summarization", [retired])
    with pytest.raises(ModelNotFoundError, match=r"has no champion in the registry$"):
        default_version("summarization", [])
    with pytest.raises(TaskInputError, match="model is missing, and summarization has several; valid: news, old"):
        default_version("summarization", [other, version("old", "summarization")])


def test_an_answer_is_used_again_and_renewed_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> None:
        registry = Registry([version("news", "summarization")])
        asked = Directory(registry.find, registry.listed)
        for _ in range(5):
            assert (await asked.resolve("summarization", "news")).version == 1
        assert len(registry.asked) == 1
        registry.versions = [version("news", "summarization", 2)]
        monkeypatch.setattr(directory, "FRESH_S", 0.0)
        # The old answer at once, and from the look-up that it started on the new one.
        assert (await asked.resolve("summarization", "news")).version == 1
        await until(lambda: not asked._refreshing)
        monkeypatch.setattr(directory, "FRESH_S", 60.0)
        assert (await asked.resolve("summarization", "news")).version == 2
        assert len(registry.asked) == 2
        registry.versions = [version("news", "summarization", 3)]
        monkeypatch.setattr(directory, "USABLE_S", 0.0)
        assert (await asked.resolve("summarization", "news")).version == 3

    asyncio.run(ask())


def test_a_registry_that_is_down_is_said_and_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> None:
        registry = Registry([version("news", "summarization")])
        asked = Directory(registry.find, registry.listed)
        registry.down = MlflowException("no connection")
        for reference in ("news", None):
            with pytest.raises(StoreUnreachableError, match="no connection"):
                await asked.resolve("summarization", reference)
        registry.down = None
        assert (await asked.resolve("summarization", "news")).version == 1
        registry.down = MlflowException("no connection")
        assert (await asked.resolve("summarization", "news")).version == 1
        monkeypatch.setattr(directory, "FRESH_S", 0.0)
        await asked.resolve("summarization", "news")  # starts a look-up that fails
        await until(lambda: not asked._refreshing)
        with pytest.raises(StoreUnreachableError):
            await asked.resolve("summarization", "news")

    asyncio.run(ask())


def test_what_was_not_found_is_looked_up_again() -> None:
    async def ask() -> None:
        registry = Registry([])
        asked = Directory(registry.find, registry.listed)
        with pytest.raises(ModelNotFoundError):
            await asked.resolve("summarization", "news")
        registry.versions = [version("news", "summarization")]
        assert (await asked.resolve("summarization", "news")).key == "news/1"

    asyncio.run(ask())


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> None:
        registry = Registry([version(f"news{number}", "summarization") for number in range(30)])
        asked = Directory(registry.find, registry.listed)
        for number in range(30):
            await asked.resolve("summarization", f"news{number}")
        assert len(asked._remembered) <= 10

    monkeypatch.setattr(directory, "MOST_REMEMBERED", 10)
    asyncio.run(ask())
