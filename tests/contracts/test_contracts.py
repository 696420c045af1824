"""What holds between the rooms of the house: imports, names, pins."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

import models
from experiments import config
from experiments.cnn.recipes import AUGMENTATION, RECIPES
from experiments.data.sources import READERS
from tasks import PRETRAINED_TASKS, TASKS, task_class
from ui.networks.ideas import IDEAS
from ui.panels import panel

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("models", "experiments", "tasks", "ui")
READ_BY_UI = ("experiments.data.report", "experiments.data.texts", "experiments.data.text_files")  # these know no torch
MAY_IMPORT = {
    "models": {"models"},
    "tasks": {"tasks", "models"},
    "experiments": {"experiments", "tasks", "models"},
    "ui": {"ui", "tasks", "models", "experiments.config", *READ_BY_UI},
}
LIBRARY_HOMES = {
    "mlflow": r"experiments/tracking/.*|experiments/setup\.py|tasks/(runs|registry)/.*|tasks/pyfunc\.py",
    "streamlit": r"ui/.*",
    "optuna": r"experiments/(tune\.py|tuning/.*)",
    "transformers": r"tasks/.*|experiments/(starters|text)/.*",
    "diffusers": r"tasks/.*|experiments/starters/.*",
}


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def running(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree but those that only a type checker sees."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from running(child)


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at its top or within functions; `if TYPE_CHECKING` aside."""
    names = set()
    for node in running(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_house_rule(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for name in imported(path):
        if name.split(".")[0] in ROOMS:
            allowed = MAY_IMPORT[room]
            assert any(name == rule or name.startswith(rule + ".") for rule in allowed), f"{path} imports {name}"
        home = LIBRARY_HOMES.get(name.split(".")[0])
        if home:
            assert re.fullmatch(home, str(path.relative_to(ROOT))), f"{path} imports {name}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_two_files_import_each_other() -> None:
    modules = {module_name(path): path for path in sources()}
    graph = {}
    for module, path in modules.items():
        names = imported(path)
        # `from a.b import c` names a.b.c: that module if there is one, else the name c of the module a.b.
        used = {name if name in modules else name.rpartition(".")[0] for name in names}
        graph[module] = (used & set(modules)) - {module}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the files


def test_config_imports_next_to_nothing_of_the_project() -> None:
    for path in (ROOT / "experiments/config").glob("*.py"):
        of_the_project = {name for name in imported(path) if name.split(".")[0] in ROOMS}
        allowed = (
            "experiments.config.",
            "tasks.PRETRAINED_TASKS",
            "tasks.TASKS",
            "tasks.command_line.",
            "tasks.disk.",
            "tasks.parameters.",
            "tasks.runtime.memory.",
        )
        assert all(name.startswith(allowed) for name in of_the_project), path


def test_no_module_is_called_utils() -> None:
    assert not [path for path in sources() if path.stem in ("utils", "helpers", "misc")]


def test_names_of_models_and_data_sets_agree_everywhere() -> None:
    assert set(config.CNN_MODELS) == set(models.ARCHITECTURES) == set(RECIPES)
    assert set(config.IMAGE_DATASETS) == set(READERS) == set(AUGMENTATION)
    assert all(set(recipe.epochs) == set(config.IMAGE_DATASETS) for recipe in RECIPES.values())
    assert {architecture.family for architecture in models.ARCHITECTURES.values()} == set(IDEAS)


def test_names_of_tasks_agree_everywhere() -> None:
    assert set(PRETRAINED_TASKS) == {task for task in TASKS if task_class(task).example}
    assert {task for task in PRETRAINED_TASKS if not TASKS[task].mapping} == {"image-generation"}  # diffusers does it
    assert all(task_class(task).name == task and panel(task).purpose for task in TASKS)


ENTRY_POINTS = {
    "main": config.CnnConfig,
    "cnn": config.CnnConfig,
    "seq2seq": config.Seq2SeqConfig,
    "compare": config.CompareConfig,
    "tune": config.TuneConfig,
    "benchmark": config.BenchmarkConfig,
    "register": config.RegisterConfig,
    "finetune": config.FinetuneConfig,
    "starter": config.StarterConfig,
    "evaluate": config.EvaluateConfig,
}


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_mlproject_and_configurations_agree(name: str) -> None:
    entry = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"][name]
    defaults = ENTRY_POINTS[name]().model_dump()
    module = re.match(r"python -m experiments\.(\w+)", entry["command"])
    assert module and (ROOT / "experiments" / f"{module[1]}.py").exists()
    used = dict(re.findall(r"--(\w+) \{(\w+)\}", entry["command"]))
    assert used == {parameter: parameter for parameter in entry["parameters"]}
    for parameter, declaration in entry["parameters"].items():
        written = "auto" if defaults[parameter] is None else str(defaults[parameter]).lower()
        assert str(declaration["default"]).lower() == written


def test_every_entry_point_of_mlproject_has_its_configuration() -> None:
    assert set(yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]) == set(ENTRY_POINTS)


def test_help_of_every_entry_point_loads_neither_torch_nor_mlflow() -> None:
    program = (
        "import importlib, sys\n"
        "for path in sys.argv[1:]:\n"
        "    try: importlib.import_module(path).main(['--help'])\n"
        "    except SystemExit as ended: assert not ended.code\n"
        "print(sorted({'torch', 'mlflow', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    commands = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"].values()
    modules = sorted({entry["command"].split()[2] for entry in commands})
    result = subprocess.run([sys.executable, "-c", program, *modules], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip().endswith("[]"), result.stderr
    assert result.stdout.count("--help") == len(modules)


def pins(lines: list[str]) -> set[str]:
    return {line.strip() for line in lines if "==" in line}


def test_conda_yaml_has_the_pins_of_requirements() -> None:
    environment = yaml.safe_load((ROOT / "conda.yaml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pins(pip) == pins((ROOT / "requirements.txt").read_text().splitlines())
    assert "python=3.11" in environment["dependencies"]


def test_the_lock_has_the_pins_of_requirements() -> None:
    wanted = (ROOT / "requirements.txt").read_text() + (ROOT / "requirements-dev.txt").read_text()
    locked = {line.split(" ")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line}
    assert {re.sub(r"\[.*\]", "", pin) for pin in pins(wanted.splitlines())} <= locked


def test_pyproject_ranges_name_what_requirements_pin() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = {re.split("[><=]", entry)[0] for entry in project["dependencies"]}
    extra = {re.split("[><=]", entry)[0] for entries in project["optional-dependencies"].values() for entry in entries}
    pinned, for_developers = (
        {entry.split("==")[0] for entry in pins((ROOT / name).read_text().splitlines())}
        for name in ("requirements.txt", "requirements-dev.txt")
    )
    assert ranges == pinned
    assert extra - {"boto3", "mlflow[auth]"} == for_developers  # which a server needs, and no test
