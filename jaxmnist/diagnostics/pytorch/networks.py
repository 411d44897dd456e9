"""Networks of the comparison with PyTorch, by the names of their archs."""

from jaxmnist.interop.pytorch.dilated import Dilated
from jaxmnist.interop.pytorch.first_family import First, Second, Third

NETWORKS = {"first": First, "second": Second, "third": Third, "dilated": Dilated}
