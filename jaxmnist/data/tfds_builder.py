"""TensorFlow Datasets builders for the IDX files, without TensorFlow.

TFDS's own `mnist` needs TensorFlow to unpack its downloads and to encode images as PNG. These builders only
download, read the files with our reader, and store pixels as bytes. They have names of their own because the
stored features differ: `mnist` in the same cache stays what TFDS expects it to be.

Importing this module imports tensorflow_datasets (half a second); `jaxmnist.data.tfds` does so when needed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.units import Size

from jaxmnist.data import idx
from jaxmnist.data.checksums import VERSION, Published
from jaxmnist.errors import DataError


class IdxBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builds one published dataset from the four files below `base_url`."""

    VERSION = tfds.core.Version(VERSION)

    def __init__(self, published: Published, base_url: str, data_dir: Path):
        self._published = published
        self._base_url = base_url
        super().__init__(data_dir=data_dir)

    @property
    def url_infos(self) -> dict[str, UrlInfo]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What each URL has to deliver. TFDS would look this up by its own URLs; ours may be a mirror's."""
        return {
            self._base_url + file.name: UrlInfo(Size(file.size), file.sha256, file.name)
            for file in self._published.files
        }

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            # The published order: a run sees the same batches whether it reads IDX files or this cache.
            disable_shuffling=True,
            features=tfds.features.FeaturesDict(
                {
                    # As bytes: the default stores each pixel as a varint, three times slower to read.
                    "image": tfds.features.Tensor(
                        shape=(28, 28), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
                    ),
                    "label": tfds.features.Scalar(dtype=np.int32),
                }
            ),
            homepage=self._published.base_url,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, np.ndarray]]]]:
        paths = {}
        for file in self._published.files:
            try:
                paths[file.name.removesuffix(".gz")] = Path(dl_manager.download(self._base_url + file.name))
            except NonMatchingChecksumError as error:
                raise DataError(
                    f"{self._base_url}{file.name} is not the published file of {file.size:,} bytes with "
                    f"SHA-256 {file.sha256}, so nothing of it was kept; try again, or get the four files "
                    f"elsewhere and point --data-dir at their folder."
                ) from error
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
    name = "jaxmnist_mnist"


class FashionMnist(IdxBuilder, skip_registration=True):
    name = "jaxmnist_fashion_mnist"


BUILDERS = {"mnist": Mnist, "fashion_mnist": FashionMnist}
