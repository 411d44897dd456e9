"""A state as the tree that is saved, and back."""

from typing import Any, NamedTuple

from jaxmnist.train import Metrics, TrainState


class _WithoutAverage(NamedTuple):
    """A `TrainState` of a recipe without averaging: Orbax would see a field without arrays as another tree."""

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any
    bad_steps: Any


def as_tree(state: TrainState, metrics: Metrics) -> dict[str, Any]:
    fields = state._asdict()
    if state.average is None:
        del fields["average"]
        return {"state": _WithoutAverage(**fields), "metrics": metrics}
    return {"state": state, "metrics": metrics}


def from_tree(tree: dict[str, Any]) -> tuple[TrainState, Metrics]:
    return TrainState(**tree["state"]._asdict()), tree["metrics"]
