"""What comes with an exported network: what it is, how it was trained, how good it is, what it cannot do."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxmnist.config import Recipe
from jaxmnist.inference.description import Description


class CardFile(NamedTuple):
    """A file that the card describes."""

    name: str
    format: str
    difference: float
    """Largest difference of a probability from JAX's."""


DESKEW_IN_NUMPY = """import numpy as np

def deskew(image):  # [28, 28]
    ink, at = image.astype(float), np.arange(28.0)
    mass = max(ink.sum(), 1e-6)
    y, x = at - ink.sum(1) @ at / mass, at - ink.sum(0) @ at / mass
    slope = y @ ink @ x / max(ink.sum(1) @ y**2, 1e-6)
    places = at + np.clip(slope * y, -10, 10)[:, None]
    return np.stack([np.interp(*row, left=0, right=0) for row in zip(places, [at] * 28, ink)])
"""
"""What weights alone need whose recipe has `deskew`, for an image, in NumPy."""

_UPRIGHT = f"""
Upright means that the principal axis of the ink is: rows are shifted by the image's moments, as by

```python
{DESKEW_IN_NUMPY.rstrip()}
```
"""


def model_card(about: Description, recipe: Recipe, files: Sequence[CardFile], checked: int) -> str:
    """The card, in Markdown.

    Args:
        about: the network's description.
        recipe: how it was trained.
        files: what it was exported to.
        checked: number of test images that every file was run on.
    """
    mean, std, side = about.mean, about.std, about.side
    normalisation = f"(pixel / 255 - {mean}) / {std}"
    first = " of an image that is made upright first" if recipe.deskew else ""
    rows = [f"| `{file.name}` | {_USES[file.format]} | {file.difference:.1e} |" for file in files]
    example = "\n\n".join(
        _EXAMPLES[file.format].format(file=file.name) for file in files if file.format in _EXAMPLES
    )
    return f"""# {about.arch}

A convolutional network of {about.parameters:,} parameters that says which of ten classes an image of 28x28 grey
pixels shows: {", ".join(about.classes)}. It gives a probability for each.

## Accuracy

{about.accuracy_text}

| class | {" | ".join(about.classes)} |
|---|{"---|" * len(about.classes)}
| correct, % | {" | ".join("-" if share is None else f"{share:.2f}" for share in about.class_accuracies)} |

## Training

{about.training_text}
{_recipe_table(recipe) if about.trained_on else ""}
## Input and files

An image is light ink (255) on a dark ground (0), as MNIST has it: the ink scaled to fit into {side}x{side} pixels with
its proportions kept, its centre of mass in the middle of the 28x28. The network computes with
{normalisation}{first}; the files html, onnx and stablehlo do that themselves and take bytes, who uses the weights
alone has to do it.
{_UPRIGHT if recipe.deskew else ""}
| file | what it is | largest difference |
|---|---|---|
{chr(10).join(rows)}

The last column compares the probabilities of {checked} test images that the file gives with those of JAX.

{example}

## Limits

{LIMITS}
"""


LIMITS = """- It always answers with one of its ten classes, whatever the image shows; a high probability is no
  proof that the image is one of them at all.
- It knows one image at a time: several digits, or a whole page, have to be cut apart first.
- It has seen images prepared as above. Other sizes, positions, colours, rotations by more than a few degrees and
  unusual handwriting make it worse; the accuracy above does not hold for them.
- Nothing was done against images that are made to deceive it.
- It is for teaching and experiments; let nothing of consequence hang on it."""

_USES = {
    "html": "a page to draw on and to look inside; opens in any browser, without a connection",
    "onnx": "ONNX: `images`, uint8 `[batch, 28, 28]`, to `probabilities`, float32 `[batch, 10]`",
    "stablehlo": "`jax.export`: from uint8 `[batch, 28, 28]` to probabilities, float32 `[batch, 10]`",
    "safetensors": "weights under PyTorch's names; normalisation in the metadata",
    "npz": "weights under PyTorch's names, for NumPy; normalisation in `metadata`",
}
_EXAMPLES = {
    "onnx": """```python
import onnxruntime
session = onnxruntime.InferenceSession("{file}")
(probabilities,) = session.run(None, {{"images": images}})
```""",
    "stablehlo": """```python
import pathlib
from jax import export
probabilities = export.deserialize(bytearray(pathlib.Path("{file}").read_bytes())).call(images)
```""",
    "safetensors": """```python
from safetensors.torch import load_file
model.load_state_dict(load_file("{file}"))
```""",
    "npz": """```python
import numpy, torch
arrays = numpy.load("{file}")
model.load_state_dict({{name: torch.from_numpy(arrays[name]) for name in arrays if name != "metadata"}})
```""",
}


def _recipe_table(recipe: Recipe) -> str:
    values = dataclasses.asdict(recipe)
    hidden = {"name", "mean", "std", "default_seed", "ignored_epochs", "best_model", "repeat_epochs"}
    if recipe.optimizer != "sgd":
        hidden |= {"momentum", "nesterov"}
    if not recipe.weight_decay:
        hidden |= {"decay_on"}
    del values["augmentation"]
    parts = {name: values.pop(name) for name in ("schedule", "plateau", "averaging", "distillation")}
    rows = [(name, value) for name, value in values.items() if name not in hidden]
    rows += [(name, part and _phrase(part)) for name, part in parts.items()]
    active = {name: value for name, value in recipe.augmentation.in_effect.items() if value}
    rows.append(("augmentation", _phrase(active) or "none"))
    body = "\n".join(f"| {name.replace('_', ' ')} | {_shown(value)} |" for name, value in rows)
    return f"\n| setting | value |\n|---|---|\n{body}\n"


def _phrase(values: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in values.items())


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
