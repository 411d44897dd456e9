"""Devices that are not there: the setting or the installation that explains it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxmnist.runtime.installation import install_line

START = """
import sys
from jaxmnist.errors import UsageError
from jaxmnist.runtime.devices import select_device
try:
    select_device(sys.argv[1])
except UsageError as error:
    print(error, error.exit_code)
"""


@pytest.mark.parametrize(
    ("platforms", "choice", "words"),
    [
        (
            "cuda",
            "auto",
            ("JAX_PLATFORMS=cuda names a platform that JAX cannot start here", "unset it", "cuda]'."),
        ),
        (
            "cdua",
            "auto",
            ("JAX_PLATFORMS=cdua names a platform that JAX does not know (did you mean cuda?)", "unset it"),
        ),
        ("cdua", "gpu", ("JAX_PLATFORMS=cdua",)),
        ("cpu", "gpu", ("no gpu device", "unset JAX_PLATFORMS=cpu, which leaves it out.")),
        ("", "gpu", ("no gpu device", "only cpu", "install one: pip install", "cuda]'.")),
    ],
)
def test_a_platform_that_cannot_start_is_named_with_its_setting_and_the_remedy(platforms, choice, words):
    done = subprocess.run(
        [sys.executable, "-c", START, choice],
        env={**os.environ, "JAX_PLATFORMS": platforms},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if not platforms and not done.stdout:
        pytest.skip("there is a GPU")
    assert all(word in done.stdout for word in words), done.stdout + done.stderr
    assert done.stdout.endswith(" 2\n")


def test_the_line_that_installs_an_extra_fits_a_checkout_and_a_package(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    assert install_line("cuda", tmp_path) == f"pip install -e '{tmp_path}[cuda]'"
    monkeypatch.chdir(tmp_path)
    assert install_line("cuda", tmp_path) == "pip install -e '.[cuda]'"
    origins = {
        None: "pip install 'jaxmnist[cuda]'",
        '{"url": "file:///src/jaxmnist", "dir_info": {}}': "pip install 'jaxmnist[cuda] @ file:///src/jaxmnist'",
        '{"url": "https://host/repo", "vcs_info": {"vcs": "git", "commit_id": "1"}}': (
            "pip install 'jaxmnist[cuda] @ git+https://host/repo'"
        ),
    }
    for origin, line in origins.items():
        monkeypatch.setattr(
            "importlib.metadata.distribution",
            lambda _, origin=origin: type("Found", (), {"read_text": lambda *_: origin})(),
        )
        assert install_line("cuda", Path("/environment/site-packages")) == line
