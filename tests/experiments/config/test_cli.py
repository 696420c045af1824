"""The command line: typed values, one-line errors that say what is valid."""

import subprocess
import sys

import pytest

from experiments import setup, train_cnn
from experiments.config import CnnConfig, ConfigError, TrainingError, cli
from tests.conftest import PROJECT_ROOT


def test_values_get_the_type_of_their_field() -> None:
    arguments = ["--model", "resnet20", "--epochs", "3", "--learning_rate", "1e-2", "--flip=no"]
    config, given = cli.parse(CnnConfig, arguments)
    assert (config.model, config.epochs, config.learning_rate, config.flip) == ("resnet20", 3, 0.01, False)
    assert given == {"model", "epochs", "learning_rate", "flip"}


def test_auto_leaves_the_choice_to_the_recipe() -> None:
    config, _ = cli.parse(CnnConfig, ["--epochs", "auto"])
    assert config.epochs is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "lenet"], r"model is 'lenet'; did you mean 'lenet5'\? valid: lenet5, "),
        (["--epochs", "0"], "epochs is 0; valid: auto, a whole number from 1 to 100000$"),
        (["--epochs", "1.5"], "epochs is '1.5'; valid: auto, a whole number from 1"),
        (["--learning_rate", "0"], "learning_rate is 0.0; valid: auto, a number, above 0 and at most 100$"),
        (["--learning_rate", "nan"], "learning_rate is nan; valid: auto, a number, above 0"),
        (["--learning_rate", "fast"], "learning_rate is 'fast'; valid: auto, a number, above 0"),
        (["--register", "maybe"], "register is 'maybe'; valid: true or false"),
        (["--seed", "-1"], "seed is -1; valid: a whole number, at least 0"),
        (["--modl", "lenet5"], "unknown argument '--modl'; did you mean 'model'"),
        (["--nonsense=1"], "unknown argument '--nonsense=1'; valid: --"),
        (["surplus"], "unknown argument 'surplus'"),
        (["--epochs"], "--epochs: expected one argument"),
        (["--epochs=--"], "epochs is '--'; valid: auto, a whole number from 1"),
        (["--model=--"], "model is '--'; valid: lenet5, "),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(arguments: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        train_cnn.main(arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("bad"), 2),
        (TrainingError("bad"), 1),
        (MemoryError("Unable to allocate 74.5 GiB"), 1),
        (MemoryError(), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    assert caught.value.code == code
    said = capsys.readouterr().err
    assert "Traceback" not in said and len(said.splitlines()) == 1
    assert isinstance(error, MemoryError) == said.startswith("error: out of memory; ") and str(error) in said


def test_the_set_up_of_the_store_has_no_parameters_and_says_so() -> None:
    with pytest.raises(ConfigError, match="unknown argument '--fresh'; valid: none"):
        setup.main(["--fresh"])


def test_help_names_every_parameter_and_loads_neither_torch_nor_mlflow() -> None:
    program = (
        "import sys; from experiments import train_cnn\n"
        "try: train_cnn.main(['--help'])\n"
        "finally: print(sorted({'torch', 'mlflow', 'sklearn'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("[]")
    assert all(f"--{name} " in result.stdout for name in ("model", "epochs", "learning_rate", "resume"))


def test_without_docstrings_a_program_says_that_it_cannot_work() -> None:
    command = [sys.executable, "-OO", "-m", "experiments.train_cnn", "--epochs", "1"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT)
    assert result.returncode == 2
    assert result.stderr.startswith("error: python -OO ") and len(result.stderr.splitlines()) == 1
