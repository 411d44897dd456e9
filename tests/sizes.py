"""Networks that are sizes of one form; slow tests of each network leave out all but one."""

from jaxmnist.models import ARCHS

SIZES = {
    "flagship_2500": 2_473,
    "flagship_1500": 1_476,
    "flagship_1000": 986,
    "flagship_850": 844,
    "flagship_500": 492,
}
"""Their parameters."""

FORMS = tuple(arch for arch in ARCHS if arch not in SIZES or arch == "flagship_1000")
"""All other networks, and one of these, as their kernels are made in another way."""
