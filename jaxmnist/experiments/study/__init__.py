"""Studies: the same training over many seeds, with statistics."""

from jaxmnist.experiments.study.compare import compare_studies, compare_with_first
from jaxmnist.experiments.study.folder import (
    SUMMARY,
    SeedResult,
    Study,
    open_study,
    read_seeds,
    read_study,
    summary,
    write_results,
)
from jaxmnist.experiments.study.loop import close_seed, train_seeds

__all__ = [
    "SUMMARY",
    "SeedResult",
    "Study",
    "close_seed",
    "compare_studies",
    "compare_with_first",
    "open_study",
    "read_seeds",
    "read_study",
    "summary",
    "train_seeds",
    "write_results",
]
