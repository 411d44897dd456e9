"""Training in a notebook: a real kernel is interrupted, resumes, and shows results."""

import asyncio
import contextlib
import random
import re
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

SETUP = """
import warnings
import jaxmnist
kept = "a variable of the caller"
"""
TRAIN = """
classifier = jaxmnist.train_run(
    "second", dataset="digits", epochs={epochs}, runs="runs", device="cpu", progress={progress}
)
"""
STATE = """
import signal
print(kept, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


class Kernel:
    """A kernel that runs one cell after the other."""

    def __init__(self, client: NotebookClient) -> None:
        self.client = client

    async def run(self, source: str, *, interrupt_at: str | float | None = None) -> list[dict[str, Any]]:
        """Runs a cell; interrupts it after some seconds, or once it has printed a text. Returns its outputs."""
        cell = nbformat.v4.new_code_cell(source)
        self.client.nb.cells.append(cell)
        task = asyncio.ensure_future(self.client.async_execute_cell(cell, len(self.client.nb.cells) - 1))
        if interrupt_at is not None:
            if isinstance(interrupt_at, str):
                while interrupt_at not in text_of(cell.outputs) and not task.done():
                    await asyncio.sleep(0.02)
            else:
                await asyncio.sleep(interrupt_at)
            manager: Any = self.client.km
            await manager.interrupt_kernel()
        with contextlib.suppress(CellExecutionError):
            await task
        return cell.outputs


@contextlib.asynccontextmanager
async def kernel(folder):
    """A kernel whose working directory is a folder."""
    notebook = nbformat.v4.new_notebook()
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    async with client.async_setup_kernel():
        yield Kernel(client)


def text_of(outputs):
    return "".join(output.get("text", "") for output in outputs if output["output_type"] == "stream")


def html_of(outputs):
    return "".join(output.get("data", {}).get("text/html", "") for output in outputs)


def errors_of(outputs):
    return [(output["ename"], output["evalue"]) for output in outputs if output["output_type"] == "error"]


def test_a_kernel_trains_is_interrupted_resumes_and_shows_its_results(tmp_path):
    asyncio.run(_work_in_a_notebook(tmp_path))


async def _work_in_a_notebook(folder):
    async with kernel(folder) as one:
        assert errors_of(await one.run(SETUP)) == []
        interrupted = await one.run(TRAIN.format(epochs=200, progress=True), interrupt_at="Epoch   1/200")
        ((name, message),) = errors_of(interrupted)
        assert name == "KeyboardInterrupt"
        run = re.fullmatch(
            r"interrupted, the state is saved; go on with jaxmnist\.resume_run\('(.*)'\)", message
        )
        assert run is not None
        assert text_of(await one.run(STATE)).split("\n") == ["a variable of the caller True", ""]

        # Short: the same run with an end that is near.
        trained = await one.run(TRAIN.format(epochs=2, progress=True) + "classifier")
        assert errors_of(trained) == []
        lines = text_of(trained).splitlines()
        assert [line[:9] for line in lines if line.startswith("Epoch")] == ["Epoch 1/2", "Epoch 2/2"]
        assert len(lines) < 12
        assert "\x1b" not in text_of(trained)
        widgets = [
            output
            for output in trained
            if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
        ]
        assert len(widgets) <= 2
        assert "its test accuracy" in html_of(trained)

        resumed = await one.run(f"jaxmnist.resume_run({run[1]!r})", interrupt_at="Resuming after epoch")
        assert [name for name, _ in errors_of(resumed)] == ["KeyboardInterrupt"]
        assert "Resuming after epoch" in text_of(resumed)

        shown = {
            source: await one.run(source)
            for source in (
                "classifier.evaluate()",
                "classifier.predict(jaxmnist.load_dataset('digits').test_images[:20])",
                "classifier.plot()",
                "classifier.results",
            )
        }
        assert [errors_of(outputs) for outputs in shown.values()] == [[]] * 4
        evaluation, predictions, plots, results = map(html_of, shown.values())
        assert "of 297 correct" in evaluation
        assert "20 predictions, the first 10" in predictions
        assert plots.count("data:image/png;base64,iVBOR") == 3
        assert "final_test_accuracy" in results


@pytest.mark.battery
def test_a_kernel_survives_twenty_interrupts_at_random_times(tmp_path):
    asyncio.run(_interrupt_often(tmp_path))


async def _interrupt_often(folder):
    chance = random.Random(25)
    async with kernel(folder) as one:
        await one.run(SETUP)
        run = None
        for number in range(20):
            # A new batch size compiles anew, so that some interrupts arrive while it does.
            train = TRAIN.format(epochs=10_000, progress=bool(number % 3))
            source = (
                train.replace("epochs=", f"batch_size={100 + number}, epochs=")
                if number % 2 or not run
                else (f"jaxmnist.resume_run({run!r})")
            )
            outputs = await one.run(source, interrupt_at=chance.uniform(0.05, 6.0))
            ((name, message),) = errors_of(outputs)
            assert name == "KeyboardInterrupt"
            if found := re.search(r"resume_run\('(.*)'\)", message):
                run = found[1]
            assert text_of(await one.run(STATE)).split("\n") == ["a variable of the caller True", ""], number
        assert run is not None
        finished = await one.run(TRAIN.format(epochs=1, progress=False) + "print(classifier.results.epochs)")
        assert text_of(finished) == "1\n"
