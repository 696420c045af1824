"""LeNet-5 on the whole of MNIST by a fifth of its recipe's epochs, of which all bring 99.5 % (docs/results)."""

from pathlib import Path

import pytest

from experiments import train_cnn


@pytest.mark.full
def test_lenet5_reaches_99_2_percent(store: Path, real_data: str) -> None:
    result = train_cnn.main(["--dataset", "mnist", "--data_dir", real_data, "--epochs", "4", "--threads", "1"])
    assert result is not None
    assert result.metrics["test_accuracy"] >= 0.992
