"""MLflow's model registry: package a task's model, register it, choose the champion, find and load it again."""

from tasks.registry.champions import CHAMPION, champion, promote, promote_if_better
from tasks.registry.packaging import package, register, signature
from tasks.registry.registered import (
    ModelNotFoundError,
    RegisteredVersion,
    expected,
    find,
    load,
    model_folder,
    version_of_run,
    versions,
)
