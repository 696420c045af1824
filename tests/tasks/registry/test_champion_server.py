"""Several promoters at once over a real tracking server, which offers no lock: the best is champion in every round."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks import registry
from tests.support.tracking_server import tracking_server

METRIC = "val_accuracy"
ROUNDS = 12
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    folder = tmp_path_factory.mktemp("race")
    (folder / "server").mkdir()
    (folder / "server" / "mlflow.db").write_bytes(empty_store.read_bytes())
    with (
        pytest.MonkeyPatch.context() as patch,
        tracking_server(f"sqlite:///{folder / 'server' / 'mlflow.db'}", folder, patch),
    ):
        yield MlflowClient()


@pytest.mark.parametrize("values", [(0.9, 0.8), (0.7, 0.9, 0.8)], ids=str)
@pytest.mark.parametrize("first", [True, False], ids=["no champion yet", "a champion"])
def test_the_best_of_several_promoters_is_champion(
    server: MlflowClient, values: tuple[float, ...], first: bool
) -> None:
    ended = []
    for number in range(ROUNDS):
        name = f"race-{len(values)}-{first}-{number}"
        server.create_registered_model(name)
        together = threading.Barrier(len(values))

        def add(value: float, name: str = name) -> str:
            run = server.create_run("0").info.run_id
            tags = {METRIC: repr(value), "data_sha256": "d", "split_sha256": "s"}
            return str(server.create_model_version(name, f"runs:/{run}/model", run, tags=tags).version)

        def contend(version: str, name: str = name, together: threading.Barrier = together) -> str:
            together.wait(60)
            return registry.promote_if_better(name, version, METRIC)

        if not first:
            registry.promote_if_better(name, add(0.5), METRIC)
        with ThreadPoolExecutor(len(values)) as pool:
            decisions = list(pool.map(contend, [add(value) for value in values]))
        champion = registry.champion(name)
        assert champion is not None
        ended.append(float(champion.tags[METRIC]))
        assert sum(": its" in decision or "becomes champion" in decision for decision in decisions) == len(values)
    assert ended == [0.9] * ROUNDS
