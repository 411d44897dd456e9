"""Training as pure functions: a state and a batch in, a state and sums out.

Nothing here reads a file, a clock or the environment. Randomness is a function of (key, step): nothing
depends on what ran before, so any step can be repeated or resumed exactly.
"""

from jaxmnist.train.batch import PADDING, Batch, EpochData, epoch_order
from jaxmnist.train.chunk import epoch_step, evaluate_chunk, predict_chunk, train_chunk
from jaxmnist.train.loss import NO_BAD_STEP, Metrics, no_metrics
from jaxmnist.train.state import Keys, TrainState, create_state
from jaxmnist.train.step import MOST_BAD_STEPS, eval_step, train_step

__all__ = [
    "MOST_BAD_STEPS",
    "NO_BAD_STEP",
    "PADDING",
    "Batch",
    "EpochData",
    "Keys",
    "Metrics",
    "TrainState",
    "create_state",
    "epoch_order",
    "epoch_step",
    "eval_step",
    "evaluate_chunk",
    "no_metrics",
    "predict_chunk",
    "train_chunk",
    "train_step",
]
