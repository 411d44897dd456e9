"""URLs, sizes and SHA-256 checksums of the datasets that can be downloaded.

They are those that TensorFlow Datasets registers in its folder `url_checksums`; a test compares them.
"""

from dataclasses import dataclass
from typing import NamedTuple

from jaxmnist.data.idx import FILE_NAMES

VERSION = "1.0.0"
"""Version of the prepared cache; raise it when the stored features change."""


class RemoteFile(NamedTuple):
    """A file to download: its name, size in bytes and SHA-256 (hex)."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Download:
    """A dataset that can be downloaded, and how to recognise it."""

    base_url: str
    files: tuple[RemoteFile, ...]
    fingerprint: str | None = None
    """`Dataset.fingerprint`, with the images in their published order; None if nobody has computed it."""
    train_labels_sha256: str | None = None
    """SHA-256 of the training labels as bytes: tells datasets apart whose files have the same names."""

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files)


def download_of(name: str) -> Download:
    """Returns what to download for a dataset; the six of EMNIST share one archive."""
    return DOWNLOADS[name.partition("/")[0]]


def _files(*sizes_and_sums: tuple[int, str]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(f"{name}.gz", size, sha256)
        for name, (size, sha256) in zip(FILE_NAMES, sizes_and_sums, strict=True)
    )


DOWNLOADS = {
    "mnist": Download(
        base_url="https://storage.googleapis.com/cvdf-datasets/mnist/",
        files=_files(
            (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
        fingerprint="212193ceac1fe2216e4f17b722bd511640924223725a7a2d8c7ea5f3e87ae31d",
        train_labels_sha256="1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    ),
    "fashion_mnist": Download(
        base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        files=_files(
            (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        fingerprint="f2217fa36349f6d7052deea512fb9783d490d8ec15b3cf13257c3d5163858046",
        train_labels_sha256="657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    ),
    "kmnist": Download(
        base_url="http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        files=_files(
            (18165135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
            (29497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
            (3041136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
            (5120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
        ),
    ),
    "emnist": Download(
        base_url="https://biometrics.nist.gov/cs_links/EMNIST/",
        files=(
            RemoteFile(
                "gzip.zip", 561753746, "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"
            ),
        ),
    ),
}

MNIST_FINGERPRINT = DOWNLOADS["mnist"].fingerprint
"""`Dataset.fingerprint` of the genuine MNIST, from whatever files: published figures and constants are for it."""
