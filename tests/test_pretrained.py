"""The trained networks of the package: whole, found by name, and as good as their cards say."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from PIL import Image

import jaxmnist
from jaxmnist.cli import main as cli
from jaxmnist.data import load_dataset
from jaxmnist.pretrained import FOLDER, PRETRAINED, is_pretrained, locate


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Runs a command in an empty folder; returns its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr("sys.argv", ["jaxmnist", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, *capsys.readouterr()

    return run


def test_each_has_its_checksum_and_its_card():
    lines = (FOLDER / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in map(str.split, lines)}
    files = {f"{name}.safetensors": FOLDER / f"{name}.safetensors" for name in PRETRAINED}
    assert sums == {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
    assert {card.stem for card in FOLDER.glob("*.md")} == {*PRETRAINED}


@pytest.mark.parametrize("name", PRETRAINED)
def test_its_errors_on_mnist_are_those_of_its_card(name, mnist_dir):
    found = jaxmnist.load(name, device="cpu").evaluate("test", dataset="mnist", data_dir=mnist_dir)
    stated = re.search(
        r"^([\d,]+) of the 10,000 test images", (FOLDER / f"{name}.md").read_text(), re.MULTILINE
    )
    assert stated
    # Another processor rounds otherwise.
    assert found.correct == pytest.approx(int(stated[1].replace(",", "")), abs=1)


def test_what_is_there_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate(Path("flagship")) == FOLDER / "flagship.safetensors"
    assert is_pretrained(locate(Path("flagship")))
    Path("flagship").mkdir()
    for path in ("flagship", "./flagship", "other"):
        assert locate(Path(path)) == Path(path)


def test_images_are_predicted_without_naming_a_network(call, tmp_path):
    digits = load_dataset("digits")
    for number in range(3):
        Image.fromarray(digits.test_images[number]).save(tmp_path / f"{number}.png")
    expected = digits.test_labels[:3].tolist()
    for words in (["0.png", "1.png", "2.png"], ["*.png"], [tmp_path]):
        code, out, error = call("predict", *words, "--json")
        assert code == 0, error
        found = json.loads(out)
        assert [row["prediction"] for row in found["predictions"]] == expected
        assert Path(found["weights"]).name == "flagship.safetensors"


def test_a_run_that_is_not_there_is_no_image(call):
    code, _, error = call("predict", "runs/missing", "a.png")
    assert code == 4
    assert "runs/missing" in error


def test_without_mnist_an_evaluation_uses_the_digits_and_says_so(call, monkeypatch):
    monkeypatch.delenv("JAXMNIST_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", "/nowhere")
    monkeypatch.setattr("jaxmnist.data.tfds.why_unreachable", lambda url: "no network")
    code, out, error = call("evaluate", "flagship")
    assert code == 0, error
    assert "evaluated on the digits embedded in scikit-learn, not on MNIST" in out
    assert Path("evaluation/flagship-digits/evaluation.json").is_file()
