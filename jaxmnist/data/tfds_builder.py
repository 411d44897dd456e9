"""TensorFlow Datasets builders for the IDX files, without TensorFlow.

TFDS's own `mnist` needs TensorFlow to unpack its downloads and to encode images as PNG. These builders only
read the files with `jaxmnist.data.idx`, and store pixels as bytes. Their names differ from TFDS's because
the stored features do.

The import of tensorflow_datasets takes half a second; `jaxmnist.data.tfds` imports this module when needed.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from jaxmnist.data import idx
from jaxmnist.data.checksums import DOWNLOADS, VERSION, Download
from jaxmnist.data.dataset import Dataset


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Does nothing: these datasets are not in TFDS's bucket, and TFDS leaves an empty folder behind."""


class IdxBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builder of a dataset from its four files, those of `source`."""

    VERSION = tfds.core.Version(VERSION)
    source: Download

    def __init__(self, data_dir: Path, files: Path | None = None) -> None:
        """Opens a dataset; to prepare it takes the folder with its files."""
        self._files = files
        super().__init__(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        return _Info(
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
        assert self._files is not None, "the files are missing"
        paths = {file.name.removesuffix(".gz"): self._files / file.name for file in self.source.files}
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
