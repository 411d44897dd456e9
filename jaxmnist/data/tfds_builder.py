"""TensorFlow Datasets builders for the IDX files, without TensorFlow.

TFDS's own `mnist` needs TensorFlow to unpack its downloads and to encode images as PNG. These builders only
download, read the files with `jaxmnist.data.idx`, and store pixels as bytes. Their names differ from TFDS's because
the stored features do.

The import of tensorflow_datasets takes half a second; `jaxmnist.data.tfds` imports this module when needed.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.units import Size

from jaxmnist.data import idx
from jaxmnist.data.checksums import DOWNLOADS, VERSION, Download, RemoteFile
from jaxmnist.data.dataset import Dataset
from jaxmnist.errors import DataError


class IdxBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builder of a dataset from its four files, which come from `source` or from a mirror."""

    VERSION = tfds.core.Version(VERSION)
    source: Download

    def __init__(self, data_dir: Path, base_url: str | None = None) -> None:
        self._base_url = base_url or self.source.base_url
        super().__init__(data_dir=data_dir)

    @property
    def url_infos(self) -> dict[str, UrlInfo]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Size and checksum of each URL; TFDS would look for its own URLs, and ours may be a mirror's."""
        return _url_infos(self._base_url, self.source)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            # In the published order, a run sees the same batches from IDX files and from this cache.
            disable_shuffling=True,
            features=tfds.features.FeaturesDict(
                {
                    # Bytes: the default stores each pixel as a varint, three times slower to read.
                    "image": tfds.features.Tensor(
                        shape=(28, 28), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
                    ),
                    "label": tfds.features.Scalar(dtype=np.int32),
                }
            ),
            homepage=self.source.base_url,
            # The fingerprint, where it is not known beforehand: array_record does not notice a flipped bit.
            metadata=tfds.core.MetadataDict() if self.source.fingerprint is None else None,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, np.ndarray]]]]:
        paths = {
            file.name.removesuffix(".gz"): _fetch(dl_manager, self._base_url, file)
            for file in self.source.files
        }
        if self.info.metadata is not None:
            pairs = [idx.read_pair(paths[a], paths[b]) for a, b in (idx.TRAIN_FILES, idx.TEST_FILES)]
            self.info.metadata["fingerprint"] = Dataset(self.name, *pairs[0], *pairs[1], "").fingerprint
        return {
            split: self._generate_examples(*(paths[name] for name in names))
            for split, names in (("train", idx.TRAIN_FILES), ("test", idx.TEST_FILES))
        }

    def _generate_examples(
        self, images_path: Path, labels_path: Path
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for key, (image, label) in enumerate(zip(*idx.read_pair(images_path, labels_path), strict=True)):
            yield key, {"image": image, "label": label}


class Mnist(IdxBuilder, skip_registration=True):
    """Builder of MNIST."""

    name = "jaxmnist_mnist"
    source = DOWNLOADS["mnist"]


class Kmnist(IdxBuilder, skip_registration=True):
    """Builder of KMNIST."""

    name = "jaxmnist_kmnist"
    source = DOWNLOADS["kmnist"]


class FashionMnist(IdxBuilder, skip_registration=True):
    """Builder of Fashion-MNIST."""

    name = "jaxmnist_fashion_mnist"
    source = DOWNLOADS["fashion_mnist"]


BUILDERS = {"mnist": Mnist, "fashion_mnist": FashionMnist, "kmnist": Kmnist}


def download_archive(folder: str, base_url: str, source: Download) -> Path:
    """Downloads the one file of a dataset into a folder and verifies it.

    Raises:
        DataError: it is not the published file.
    """
    manager = tfds.download.DownloadManager(
        download_dir=folder, url_infos=_url_infos(base_url, source), force_checksums_validation=True
    )
    (file,) = source.files
    return _fetch(manager, base_url, file)


def _url_infos(base_url: str, source: Download) -> dict[str, UrlInfo]:
    return {base_url + file.name: UrlInfo(Size(file.size), file.sha256, file.name) for file in source.files}


def _fetch(manager: tfds.download.DownloadManager, base_url: str, file: RemoteFile) -> Path:
    try:
        return Path(manager.download(base_url + file.name))
    except NonMatchingChecksumError as error:
        raise DataError(
            f"{base_url}{file.name} is not the published file of {file.size:,} bytes with SHA-256 {file.sha256}, "
            f"and was deleted; try again, or get the files elsewhere and point --data-dir at their folder."
        ) from error
