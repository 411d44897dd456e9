"""Networks that are other sizes of `flagship_small`; slow tests of each network leave them out."""

from jaxmnist.models import ARCHS

SIZES = {
    "flagship_2500": 2_473,
    "flagship_1500": 1_409,
    "flagship_1000": 985,
    "flagship_700": 671,
    "flagship_500": 496,
}
"""Their parameters."""

FORMS = tuple(arch for arch in ARCHS if arch not in SIZES)
"""All other networks."""
