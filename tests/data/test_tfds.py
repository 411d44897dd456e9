"""Downloads through TensorFlow Datasets from a local server, and the cache."""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxmnist.data import (
    CLASSES,
    DataUnavailableError,
    connectivity,
    emnist,
    idx,
    load_dataset,
    tfds,
    tfds_builder,
)
from jaxmnist.data.checksums import DOWNLOADS, RemoteFile
from jaxmnist.errors import DataError
from tests.data.test_idx import encode

FILES = tuple(file.name for file in DOWNLOADS["mnist"].files)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    status = 0

    def do_GET(self) -> None:
        if self.status:
            self.send_error(self.status)
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


class FailingHandler(QuietHandler):
    status = 502


@pytest.fixture(scope="module")
def serve():
    """Starts a server for a folder and returns its URL."""
    servers = []

    def start(folder: Path, handler: type[QuietHandler] = QuietHandler) -> str:
        factory = functools.partial(handler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), factory)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def cache(mnist_dir, serve, tmp_path_factory) -> tuple[Path, list[str]]:
    """A cache with both datasets downloaded, and the announcements. Tests do not change it."""
    root = tmp_path_factory.mktemp("tfds")
    announced: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("tmp")))
        patch.setenv("TFDS_DATA_DIR", str(root))
        patch.setenv("no_proxy", "127.0.0.1")
        patch.delenv("JAXMNIST_DATA_DIR", raising=False)
        for name in ("mnist", "fashion_mnist"):
            load_dataset(name, base_url=serve(mnist_dir) + name, announce=announced.append)
    return root, announced


@pytest.fixture(autouse=True)
def empty_root(monkeypatch, tmp_path) -> Path:
    """An empty cache, no other data, and temporary files in the test's folder.

    TFDS leaves an empty temporary folder behind with every new builder.
    """
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("JAXMNIST_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "tfds"


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_urls_sizes_and_checksums_are_those_tensorflow_datasets_registers():
    from tensorflow_datasets.core.download import checksums
    from tensorflow_datasets.core.utils import tfds_path

    for name, source in DOWNLOADS.items():
        registered = checksums.load_url_infos(tfds_path() / "url_checksums" / f"{name}.txt")
        ours = {source.base_url + file.name: (file.size, file.sha256) for file in source.files}
        assert ours == {url: (int(info.size), info.checksum) for url, info in registered.items()}


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_a_downloaded_dataset_equals_its_idx_files_in_the_published_order(
    cache, mnist_dir, monkeypatch, name
):
    monkeypatch.setenv("TFDS_DATA_DIR", str(cache[0]))
    cached, files = load_dataset(name), load_dataset(name, mnist_dir)
    for ours, theirs in zip(cached.arrays, files.arrays, strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    assert cached.fingerprint == files.fingerprint
    assert str(cache[0]) in cached.source


def test_each_download_is_announced_in_one_line(cache):
    _, announced = cache
    assert len(announced) == 2
    assert announced[0].startswith("Downloading mnist (12 MB) from http://127.0.0.1:")
    assert announced[1].startswith("Downloading fashion_mnist (31 MB) from http://127.0.0.1:")


def test_the_cache_holds_two_prepared_datasets_and_no_downloads(cache):
    root, _ = cache
    assert {path.parent.parent.name for path in files_below(root)} == {
        "jaxmnist_mnist",
        "jaxmnist_fashion_mnist",
    }
    assert {path.parent.name for path in files_below(root)} == {"1.0.0"}


def test_a_fresh_process_reads_the_cache_in_under_four_seconds_without_tensorflow_or_torch(cache):
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "from jaxmnist.data import load_dataset; load_dataset('mnist')\n"
        "print(time.perf_counter() - start, 'tensorflow' in sys.modules, 'torch' in sys.modules)"
    )
    times = []
    while not times or (min(times) >= 4 and len(times) < 3):  # other work on the machine only adds time
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=os.environ | {"TFDS_DATA_DIR": str(cache[0])},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        seconds, *imported = done.stdout.split()
        assert imported == ["False", "False"]
        times.append(float(seconds))
    assert min(times) < 4


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("wrong", [b"<html>please log in</html>", b""])
def test_a_wrong_file_is_refused_and_deleted(mnist_dir, serve, tmp_path, empty_root, name, wrong):
    mirror = tmp_path / "mirror"
    shutil.copytree(mnist_dir / name, mirror)
    (mirror / FILES[1]).chmod(0o600)
    (mirror / FILES[1]).write_bytes(wrong)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(temporary))
        with pytest.raises(DataError, match=f"{FILES[1]} is not the published file") as caught:
            load_dataset(name, base_url=serve(mirror))
    assert not isinstance(caught.value, DataUnavailableError), "digits must not stand in for it"
    assert files_below(empty_root) == []
    assert files_below(temporary) == []


def test_a_mirror_of_the_other_dataset_is_refused(mnist_dir, serve):
    with pytest.raises(DataError, match="is not the published file of 26,421,880 bytes"):
        load_dataset("fashion_mnist", base_url=serve(mnist_dir / "mnist"))


def test_a_file_missing_from_the_mirror_makes_the_dataset_unavailable(mnist_dir, serve, tmp_path, empty_root):
    for file_name in (FILES[3], FILES[1]):
        (tmp_path / file_name).symlink_to(mnist_dir / "mnist" / file_name)
    with pytest.raises(DataUnavailableError, match=r"could not be downloaded .* HTTP code: 404"):
        load_dataset("mnist", base_url=serve(tmp_path))
    assert files_below(empty_root) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_preparation_leaves_no_cache(mnist_dir, serve, empty_root, monkeypatch, stop):
    from jaxmnist.data import tfds_builder

    examples = tfds_builder.IdxBuilder._generate_examples

    def interrupted(self, *paths):
        for key, example in examples(self, *paths):
            if key == 5:
                raise stop
            yield key, example

    monkeypatch.setattr(tfds_builder.IdxBuilder, "_generate_examples", interrupted)
    with pytest.raises((KeyboardInterrupt, DataUnavailableError)):
        load_dataset("mnist", base_url=serve(mnist_dir / "mnist"))
    assert files_below(empty_root) == []
    assert not tfds.prepared_folder("mnist", empty_root).exists()


def test_the_remains_of_a_killed_preparation_do_not_pass_for_the_cache(mnist_dir, serve, empty_root):
    code = (
        "import os; from jaxmnist.data import load_dataset, tfds_builder\n"
        "def killed(self, *paths):\n"
        "    yield 0, {'image': __import__('numpy').zeros((28, 28), 'uint8'), 'label': 0}\n"
        "    os._exit(9)\n"
        "tfds_builder.IdxBuilder._generate_examples = killed\n"
        f"load_dataset('mnist', base_url={serve(mnist_dir / 'mnist')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 9
    assert list((empty_root / "jaxmnist_mnist").iterdir()), "something is left"
    with pytest.raises(DataUnavailableError, match="not in there"):
        load_dataset("mnist", base_url="http://127.0.0.1:1/")


def test_a_cache_completed_by_another_process_meanwhile_is_used(
    cache, mnist_dir, serve, empty_root, monkeypatch
):
    def lose_the_race(*_args):
        shutil.copytree(cache[0], empty_root)
        raise OSError(39, "Directory not empty")

    monkeypatch.setattr(tfds, "_prepare", lose_the_race)
    dataset = load_dataset("mnist", base_url=serve(mnist_dir / "mnist"))
    assert dataset.fingerprint == DOWNLOADS["mnist"].fingerprint


@pytest.mark.parametrize("victim", ["train.array_record-00000-of-00001", "dataset_info.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_cache_is_an_error_that_names_the_folder_to_delete(cache, empty_root, victim, damage):
    folder = tfds.prepared_folder("mnist", empty_root)
    shutil.copytree(tfds.prepared_folder("mnist", cache[0]), folder)
    (path,) = folder.glob(f"*{victim}")
    content = bytearray(path.read_bytes())
    match damage:
        case "flip":
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(content)
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "remove":
            path.unlink()
    with pytest.raises(DataError, match="is damaged") as caught:
        load_dataset("mnist")
    assert str(folder) in str(caught.value)
    assert not isinstance(caught.value, DataUnavailableError)


def test_a_cache_of_another_dataset_is_an_error(cache, empty_root):
    source = tfds.prepared_folder("mnist", cache[0])
    folder = tfds.prepared_folder("fashion_mnist", empty_root)
    folder.mkdir(parents=True)
    for path in source.iterdir():
        text = path.name.replace("jaxmnist_mnist", "jaxmnist_fashion_mnist")
        shutil.copy(path, folder / text)
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("jaxmnist_mnist", "jaxmnist_fashion_mnist"))
    with pytest.raises(DataError, match=r"is damaged .its contents are not the published ones"):
        load_dataset("fashion_mnist")


@pytest.mark.parametrize("parent", ["/proc/nowhere", "a file"])
def test_a_cache_that_cannot_be_written_is_an_error_that_names_it(
    mnist_dir, serve, monkeypatch, tmp_path, parent, capsys
):
    if parent == "a file":
        parent = str(tmp_path / "file")
        Path(parent).touch()
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", parent)
    with pytest.raises(DataUnavailableError, match="could not be downloaded into") as caught:
        load_dataset("mnist", base_url=serve(mnist_dir / "mnist"))
    assert f"{parent}/tensorflow_datasets" in str(caught.value)
    assert "TFDS_DATA_DIR" in str(caught.value)
    assert capsys.readouterr().out == ""


def unavailable_within_ten_seconds(base_url: str, reason: str) -> None:
    start = time.perf_counter()
    with pytest.raises(DataUnavailableError, match=reason):
        load_dataset("mnist", base_url=base_url)
    assert time.perf_counter() - start < 10


def test_a_refused_connection_is_reported_within_ten_seconds():
    unavailable_within_ten_seconds("http://127.0.0.1:1/", "cannot be reached .Connection refused")


def test_a_host_without_address_is_reported_within_ten_seconds():
    unavailable_within_ten_seconds("http://no-such-host.invalid/", "cannot be reached")


def test_an_invalid_address_is_reported_within_ten_seconds():
    unavailable_within_ten_seconds("no address at all", "cannot be reached")


def test_a_silent_server_is_given_up_within_ten_seconds():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        unavailable_within_ten_seconds(url, "no answer within 4 seconds")


def test_a_name_lookup_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(connectivity, "DEADLINE", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: time.sleep(2))
    start = time.perf_counter()
    assert connectivity.why_unreachable("http://slow.invalid/") == "no answer within 0.2 seconds"
    assert time.perf_counter() - start < 1


def test_a_proxy_without_connection_is_reported_at_once(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", serve(tmp_path, FailingHandler))
    unavailable_within_ten_seconds("http://no-such-host.invalid/", "HTTP status 502")


def images_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)


def publish(monkeypatch, name: str, folder: Path) -> None:
    """Makes the files in a folder the published ones of a dataset."""
    files = tuple(
        RemoteFile(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
    )
    source = dataclasses.replace(DOWNLOADS[name], files=files)
    monkeypatch.setitem(DOWNLOADS, name, source)
    if name == "kmnist":
        monkeypatch.setattr(tfds_builder.Kmnist, "source", source)


@pytest.fixture
def kmnist(tmp_path, monkeypatch) -> Path:
    """A folder like KMNIST's server, with images of our own."""
    folder = tmp_path / "kmnist"
    folder.mkdir()
    for (images, labels), count in ((idx.TRAIN_FILES, 30), (idx.TEST_FILES, 10)):
        (folder / f"{images}.gz").write_bytes(gzip.compress(encode(images_of(count))))
        (folder / f"{labels}.gz").write_bytes(gzip.compress(encode((np.arange(count) % 10).astype(np.uint8))))
    publish(monkeypatch, "kmnist", folder)
    return folder


def emnist_files(name: str) -> dict[str, bytes]:
    """The files of one of EMNIST's datasets, mirrored as the published ones are, with images of our own."""
    first, files = int(name == "emnist/letters"), {}
    classes = len(CLASSES[name])
    for split, count in (("train", 2 * classes), ("test", classes)):
        labels = (np.arange(count) % classes + first).astype(np.uint8)
        images = images_of(count, seed=classes).transpose(0, 2, 1)
        stem = f"{name.replace('/', '-')}-{split}"
        files[f"{stem}-images-idx3-ubyte.gz"] = gzip.compress(encode(np.ascontiguousarray(images)))
        files[f"{stem}-labels-idx1-ubyte.gz"] = gzip.compress(encode(labels))
    return files


EMNIST = [name for name in CLASSES if name.startswith("emnist/")]


@pytest.fixture
def emnist_server(tmp_path, monkeypatch) -> Path:
    """A folder like NIST's server: one archive with all six datasets."""
    folder = tmp_path / "nist"
    folder.mkdir()
    with zipfile.ZipFile(folder / "gzip.zip", "w") as archive:
        for name in EMNIST:
            for file_name, content in emnist_files(name).items():
                archive.writestr(f"gzip/{file_name}", content)
    publish(monkeypatch, "emnist", folder)
    return folder


def test_kmnist_is_downloaded_verified_and_then_read_from_the_cache(kmnist, serve, empty_root):
    announced: list[str] = []
    first = load_dataset("kmnist", base_url=serve(kmnist), announce=announced.append)
    assert len(announced) == 1
    np.testing.assert_array_equal(first.train_images, images_of(30))
    np.testing.assert_array_equal(first.test_labels, np.arange(10))
    assert first.classes == ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    assert load_dataset("kmnist", download=False).fingerprint == first.fingerprint
    assert str(empty_root) in first.source


def test_a_flipped_bit_in_the_cache_is_noticed_without_a_known_fingerprint(kmnist, serve, empty_root):
    load_dataset("kmnist", base_url=serve(kmnist))
    (path,) = tfds.prepared_folder("kmnist", empty_root).glob("*train.array_record*")
    whole = path.read_bytes()
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))  # the rest is padding
    for position in used[len(used) // 4 :: len(used) // 10]:
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="is damaged"):
            load_dataset("kmnist", download=False)


def test_another_file_than_kmnists_is_refused(kmnist, serve, empty_root):
    path = kmnist / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(encode(np.arange(10, dtype=np.uint8)[::-1])))
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.gz is not the published file"):
        load_dataset("kmnist", base_url=serve(kmnist))
    assert files_below(empty_root) == []


def test_emnist_is_downloaded_once_for_all_six(emnist_server, serve, empty_root):
    announced: list[str] = []
    url = serve(emnist_server)
    for name in EMNIST:
        dataset = load_dataset(name, base_url=url, announce=announced.append)
        count = len(CLASSES[name])
        np.testing.assert_array_equal(dataset.train_images, images_of(2 * count, seed=count))
        np.testing.assert_array_equal(dataset.train_labels, np.arange(2 * count) % count)
        np.testing.assert_array_equal(dataset.test_labels, np.arange(count))
        assert dataset.classes == CLASSES[name]
        assert dataset.name == name
        assert dataset.fit == "mnist"
    assert len(announced) == 1
    assert announced[0].startswith("Downloading emnist/balanced (")
    assert files_below(empty_root) == [empty_root / "jaxmnist_emnist" / "1.0.0" / "gzip.zip"]


def test_the_classes_of_emnist_are_those_of_its_mapping_files():
    assert {name: len(CLASSES[name]) for name in EMNIST} == {
        "emnist/balanced": 47,
        "emnist/letters": 26,
        "emnist/digits": 10,
        "emnist/mnist": 10,
        "emnist/byclass": 62,
        "emnist/bymerge": 47,
    }
    assert "".join(CLASSES["emnist/balanced"]) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    assert CLASSES["emnist/byclass"][36:38] == ("a", "b")
    assert CLASSES["emnist/letters"][0] == "A"


@pytest.mark.parametrize("wrong", [b"<html>please log in</html>", b""])
def test_another_archive_than_emnists_is_refused_and_deleted(emnist_server, serve, empty_root, wrong):
    (emnist_server / "gzip.zip").write_bytes(wrong)
    with pytest.raises(DataError, match=r"gzip.zip is not the published file") as caught:
        load_dataset("emnist/letters", base_url=serve(emnist_server))
    assert not isinstance(caught.value, DataUnavailableError)
    assert files_below(empty_root) == []
    assert not tfds.is_prepared("emnist/letters", empty_root)


def test_an_interrupted_download_of_emnist_leaves_no_cache(emnist_server, serve, empty_root, monkeypatch):
    def stop(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(tfds, "fetch", stop)
    with pytest.raises(KeyboardInterrupt):
        load_dataset("emnist/letters", base_url=serve(emnist_server))
    assert files_below(empty_root) == []
    assert not tfds.is_prepared("emnist/letters", empty_root)


def test_an_archive_of_emnist_that_another_process_completed_meanwhile_is_used(
    emnist_server, serve, empty_root, monkeypatch
):
    fetch = tfds.fetch

    def slow(*args):
        found = fetch(*args)
        target = tfds.prepared_folder("emnist/letters", empty_root)
        target.mkdir(parents=True)
        shutil.copy(emnist_server / "gzip.zip", target)
        return found

    monkeypatch.setattr(tfds, "fetch", slow)
    dataset = load_dataset("emnist/letters", base_url=serve(emnist_server))
    assert len(dataset.train_labels) == 52
    assert [path.name for path in files_below(empty_root)] == ["gzip.zip"]


def test_a_damaged_archive_of_emnist_is_an_error_that_names_the_folder_to_delete(
    emnist_server, serve, empty_root
):
    load_dataset("emnist/letters", base_url=serve(emnist_server))
    path = tfds.prepared_folder("emnist/letters", empty_root) / "gzip.zip"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("gzip/emnist-letters-train-images-idx3-ubyte.gz").header_offset
    content[start + 1000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged") as caught:
        load_dataset("emnist/letters", download=False)
    assert str(path.parent) in str(caught.value)
    path.write_bytes(content[:5000])
    with pytest.raises(DataError, match=r"is damaged .File is not a zip file"):
        load_dataset("emnist/letters", download=False)


@pytest.mark.parametrize("place", ["", "emnist", "emnist/letters", "EMNIST/raw"])
@pytest.mark.parametrize("form", ["archive", "files", "unpacked"])
def test_a_folder_may_hold_emnists_archive_or_its_files(emnist_server, tmp_path, place, form):
    folder = tmp_path / "data" / place
    folder.mkdir(parents=True)
    if form == "archive":
        shutil.copy(emnist_server / "gzip.zip", folder)
    else:
        for name, content in emnist_files("emnist/letters").items():
            plain = form == "unpacked"
            path = folder / (name.removesuffix(".gz") if plain else name)
            path.write_bytes(gzip.decompress(content) if plain else content)
    dataset = load_dataset("emnist/letters", tmp_path / "data")
    np.testing.assert_array_equal(dataset.train_images, images_of(52, seed=26))
    np.testing.assert_array_equal(dataset.train_labels, np.arange(52) % 26)


def test_labels_that_emnist_letters_has_not_are_refused(tmp_path):
    for label, message in ((0, "labels below 1"), (27, "the label 27 at position 0")):
        for name, content in emnist_files("emnist/letters").items():
            (tmp_path / name).write_bytes(content)
        labels = np.arange(26).astype(np.uint8) + 1
        labels[0] = label
        (tmp_path / "emnist-letters-test-labels-idx1-ubyte.gz").write_bytes(gzip.compress(encode(labels)))
        with pytest.raises(DataError, match=message):
            load_dataset("emnist/letters", tmp_path)


def test_a_folder_without_emnist_is_told_what_it_needs(tmp_path):
    with pytest.raises(DataError, match=r"put emnist-letters-train-images-idx3-ubyte, .*, or gzip.zip there"):
        load_dataset("emnist/letters", tmp_path)


def test_emnist_byclass_takes_no_more_memory_than_its_arrays(tmp_path):
    import tracemalloc

    count = 60_000
    labels = (np.arange(count) % 62).astype(np.uint8)
    for split in ("train", "test"):
        stem = f"emnist-byclass-{split}"
        (tmp_path / f"{stem}-images-idx3-ubyte").write_bytes(encode(np.zeros((count, 28, 28), np.uint8)))
        (tmp_path / f"{stem}-labels-idx1-ubyte").write_bytes(encode(labels))
    tracemalloc.start()
    try:
        emnist.read(tmp_path, "emnist/byclass")
        assert tracemalloc.get_traced_memory()[1] < 1.2 * 2 * count * 28 * 28
    finally:
        tracemalloc.stop()
