"""Studies whose seeds begin with given weights."""

import json
import sys

import jax
import numpy as np
import pytest

from jaxmnist.cli import main as cli
from jaxmnist.runs.folder import read_config
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.weights import read_weights
from tests.data.written import some_images, write_npz

DEVICE = jax.devices()[0]


def test_every_seed_of_a_study_begins_with_the_given_weights(tiny_run, tmp_path, capsys, monkeypatch):
    data = write_npz(tmp_path / "own.npz", some_images(train=80, test=30))  # three classes: another head
    given = np.asarray(restore_run(tiny_run, "best", DEVICE).variables["params"]["conv1"]["kernel"])
    # At this rate the weights stay what they are.
    options = f"--init-from {tiny_run} --dataset {data} --epochs 1 --lr 1e-20 --seeds 2 --together 2 --json"
    monkeypatch.setattr(sys, "argv", ["study", *options.split(), "--out", str(tmp_path / "study")])
    with pytest.raises(SystemExit) as end:
        cli.main("study")
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["last_epoch"]["count"] == 2
    for seed in (1, 2):
        config = read_config(tmp_path / "study" / f"s{seed}")
        assert (config.arch, config.init_from) == ("second", str(tiny_run))
        (file,) = (tmp_path / "study" / f"s{seed}").glob("second-*.npz")
        kernel = read_weights(file, DEVICE).variables["params"]["conv1"]["kernel"]
        np.testing.assert_allclose(np.asarray(kernel), given, atol=1e-6)
