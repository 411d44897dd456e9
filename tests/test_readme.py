"""The README: short, and true as printed."""

import re
import shlex
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

import jaxmnist
from jaxmnist.cli import main as cli
from jaxmnist.data import load_dataset
from jaxmnist.pretrained import PRETRAINED
from jaxmnist.train import create_state
from tests.data.written import Images, some_images, write_folder, write_idx
from tests.readme import ROOT, blocks

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("jaxmnist ")
]


def test_it_is_short_and_begins_with_a_picture():
    lines = README.splitlines()
    assert len(README.split()) <= 1500
    assert sum(line.startswith("|") for line in lines) <= 30
    assert next(number for number, line in enumerate(lines, 1) if "<img" in line) <= 12


def test_no_sentence_has_more_than_30_words():
    text = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)|<[^>]*>", "", text)
    paragraphs = re.split(r"\n\s*\n|\n(?=[-|#\d])", text)
    sentences = [
        part
        for paragraph in paragraphs
        for part in re.split(r"(?<=[.:;!?])\s|\|", " ".join(paragraph.split()))
    ]
    assert [part for part in sentences if len(part.split()) > 30] == []


def test_every_link_leads_to_a_file():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)|(?:src|srcset)=\"([^\"]+)\"", README)
    assert [link for pair in links for link in pair if link and not (ROOT / link).exists()] == []


@pytest.fixture(scope="module")
def step_blocks():
    return blocks("From PyTorch to JAX", "python")


def test_the_jax_step_trains_as_printed(step_blocks):
    model, optimizer = jaxmnist.create_model("second", dropout=0.0), optax.sgd(0.1, momentum=0.9)
    names = {"jax": jax, "jnp": jnp, "optax": optax, "model": model, "optimizer": optimizer}
    exec(step_blocks[1], names)
    digits = load_dataset("digits")
    images = jnp.asarray(digits.train_images[:64, :, :, None] / 255, jnp.float32)
    state, losses = create_state(jax.random.key(0), model, optimizer), []
    for number in range(20):
        state, loss = names["train_step"](state, images, digits.train_labels[:64], jax.random.key(number))
        losses.append(float(loss))
    assert losses[-1] < losses[0] - 0.3


def test_the_pytorch_step_trains_as_printed(step_blocks):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    names = {"F": torch.nn.functional}
    exec(step_blocks[0], names)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10), torch.nn.LogSoftmax(1))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    images, labels = torch.rand(16, 1, 28, 28), torch.arange(16) % 10
    losses = [names["train_step"](model, optimizer, images, labels).item() for _ in range(5)]
    assert losses[-1] < losses[0]


def test_the_python_example_prints_what_is_printed_below_it(tmp_path):
    ((code,), (printed,)) = (blocks("From Python", language) for language in ("python", "text"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    # The errors of a training depend on the processor.
    *same, last = done.stdout.splitlines()
    *expected, printed_last = printed.splitlines()
    assert same == expected
    found, stated = (re.fullmatch(r"5,048 parameters, (\d+) errors", line) for line in (last, printed_last))
    assert found
    assert stated
    assert abs(int(found[1]) - int(stated[1])) <= 5
    # Nothing but progress besides: the setup, the line that tells that all is compiled, one for each epoch.
    setup = ("data ", "recipe ", "selects ", "device ", "run folder ", "", "Epoch")
    assert all(line.startswith(setup) for line in done.stderr.splitlines()), done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with everything that the commands name; its MNIST is small."""
    folder = tmp_path_factory.mktemp("readme")
    digits = load_dataset("digits")
    small = (digits.train_images[:128], digits.train_labels[:128], digits.test_images, digits.test_labels)
    write_idx(folder / "data" / "mnist", Images(*small))
    write_folder(folder / "photos", some_images(train=80, test=30), ("cat", "dog", "owl"))
    images = digits.test_images
    Image.fromarray(images[0]).save(folder / "digit.png")
    Image.fromarray(np.pad(np.concatenate(list(images[:3]), axis=1), 8)).save(folder / "page.jpg")
    (folder / "my_net.py").write_text(blocks("A network of your own", "python")[0])
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_as_printed(command, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("JAXMNIST_DATA_DIR", str(place / "data"))
    monkeypatch.setattr("webbrowser.open", lambda url: True)
    # Eight more seeds would show nothing new, and take a minute.
    _, name, *words = shlex.split(command.replace("--seeds 10", "--seeds 2"))
    monkeypatch.setattr("sys.argv", ["jaxmnist", name, *words])
    # A network of the user's own need not be written for this suite's strict settings.
    with pytest.raises(SystemExit) as end, jax.numpy_dtype_promotion("standard"):
        cli.main()
    assert not end.value.code, capsys.readouterr().err


def test_every_command_is_named():
    from jaxmnist.cli import COMMANDS as groups

    (table,) = re.findall(r"## Commands\n\n(.*?)\n\n", README, flags=re.DOTALL)
    assert set(re.findall(r"`(\w+)`", table)) - {"command"} == {
        name for group in groups.values() for name in group
    }


def test_the_networks_of_the_table_come_with_the_package():
    (table,) = re.findall(r"## Which network\n\n(.*?)\n\n", README, flags=re.DOTALL)
    named = re.findall(r"^\| [^|]*\| `(\w+)`", table, flags=re.MULTILINE)
    assert len(named) >= 3
    assert {*named} <= {*PRETRAINED}
