"""Published figures of the thirteen reproduced systems.

From sections 1, 5 and 6 of the sources' fact sheet. Every figure is that of a single run of 15 epochs, with the best
epoch selected on the test images. Where a source's text and its log differ, the log counts.
"""

import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Published:
    """A published run: a network trained by a recipe. Accuracies are percentages of 10,000 test images."""

    system: str
    """The source's name for the network and its recipe together."""
    arch: str
    recipe: str
    parameters: int
    """Number of trainable parameters."""
    best_test_accuracy: float
    best_train_accuracy: float | None
    """None if it was not published."""
    correct: tuple[int, ...] = ()
    """Number of test images classified correctly after each epoch; empty if no log was published."""
    first_epoch: int = 1
    """First epoch of `correct`; some logs are published in part."""

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs of `correct`."""
        return tuple(range(self.first_epoch, self.first_epoch + len(self.correct)))

    @property
    def test_accuracies(self) -> tuple[float, ...]:
        """Test accuracies in percent, by `epochs`."""
        return tuple(count / 100 for count in self.correct)

    @property
    def best_test_epoch(self) -> int | None:
        """First epoch with the best test accuracy; None if it is not in the published log."""
        found = zip(self.epochs, self.test_accuracies, strict=True)
        return next((epoch for epoch, accuracy in found if accuracy == self.best_test_accuracy), None)

    @property
    def last_five_mean(self) -> float | None:
        """Mean test accuracy of the last five epochs; None if no log was published."""
        return statistics.fmean(self.test_accuracies[-5:]) if self.correct else None


def published(arch: str, recipe: str) -> Published | None:
    """Returns the published run of a network and recipe, or None."""
    return _BY_NAMES.get((arch, recipe))


# fmt: off
PUBLISHED: tuple[Published, ...] = (
    Published("first", "first", "first", 13_808, 99.50, 98.90, (
        9867, 9896, 9886, 9893, 9906, 9927, 9923, 9923, 9930, 9921, 9927, 9950, 9933, 9930, 9941)),
    Published("second", "second", "second", 5_048, 99.08, 98.31, (
        9709, 9760, 9864, 9830, 9865, 9884, 9872, 9892, 9908, 9885, 9906, 9906, 9905, 9905, 9897)),
    # Its text has 99.40, 99.41 and 99.42 in epochs 12, 13 and 15; the counts on the same lines are these.
    Published("third", "third", "third", 7_902, 99.43, 98.80, (
        9809, 9855, 9899, 9897, 9900, 9916, 9911, 9918, 9919, 9925, 9938, 9934, 9932, 9943, 9938)),
    # The run on the authors' own machine; a second one, in the cloud, had a last-five mean of 99.47.
    Published("dilated", "dilated", "dilated", 5_340, 99.55, 98.625, (
        9844, 9868, 9884, 9913, 9930, 9934, 9932, 9929, 9927, 9946, 9947, 9953, 9955, 9955, 9955)),
    Published("evolution_v1", "evolution_v1", "evolution", 6_536, 95.68, None),
    # Its text has 98.88; the log's best is 98.92, in an epoch before the published part.
    Published("evolution_v2", "evolution_v2", "evolution", 6_704, 98.92, 97.71, (
        9886, 9888, 9888, 9888, 9888, 9888), first_epoch=10),
    Published("evolution_v3", "evolution_v3", "evolution", 7_820, 99.37, 98.66, (
        9930, 9935, 9936, 9937, 9937, 9936), first_epoch=10),
    Published("challenge_ll", "challenge_ll", "challenge", 9_412, 99.36, 98.91, (
        9915, 9924, 9933, 9924, 9936), first_epoch=11),
    Published("challenge_gap", "challenge_gap", "challenge", 6_992, 99.36, 98.72, (
        9914, 9916, 9936, 9932, 9932), first_epoch=11),
    Published("challenge_final", "challenge_final", "challenge", 6_972, 99.40, 99.38, (
        9939, 9940, 9932, 9935, 9940), first_epoch=11),
    # Its text has 99.15 in epoch 14; the log has 99.20 in epoch 11.
    Published("step1", "step1", "step1", 257_354, 99.20, 99.37, (
        6595, 9438, 9753, 9816, 9809, 9854, 9873, 9880, 9892, 9882, 9920, 9880, 9897, 9915, 9907)),
    Published("step2", "step3", "step1", 7_216, 99.28, 99.03, (
        9774, 9853, 9819, 9864, 9910, 9907, 9898, 9915, 9893, 9908, 9909, 9915, 9920, 9913, 9928)),
    Published("step3", "step3", "step3", 7_216, 99.45, 99.19, (
        9773, 9871, 9895, 9886, 9911, 9914, 9933, 9916, 9935, 9922, 9921, 9922, 9942, 9944, 9945)),
)
# fmt: on
"""All published systems, in the order of the sources."""

_BY_NAMES = {(system.arch, system.recipe): system for system in PUBLISHED}
