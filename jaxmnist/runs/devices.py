"""The devices that a run trains on: by default on a CPU one for each core, on resuming as many as before."""

from pathlib import Path

from jaxmnist.config.run import RunConfig
from jaxmnist.models import is_custom
from jaxmnist.runs.folder import CONFIG
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.mesh import Where, every_core, first_devices
from jaxmnist.runtime.reading import read_json


def training_devices(config: RunConfig, device: Device) -> Where:
    """Returns the devices of a new run.

    A network of the user's own takes one: its training step cannot be mapped over parts of a batch.

    Args:
        config: configuration of the run.
        device: the selected device.
    """
    return device if is_custom(config.arch) else every_core(device, config.recipe.batch_size)


def devices_of_run(run: Path, config: RunConfig, device: Device) -> Where:
    """Returns as many devices as a run began with, since the order of its sums depends on their number.

    Args:
        run: the run folder.
        config: its configuration.
        device: the selected device; if it is no CPU, or fewer are there, the devices are those of a new run.
    """
    environment = read_json(run / CONFIG).get("environment", {})
    count = environment.get("devices") if isinstance(environment, dict) else None
    if device.platform != "cpu" or not isinstance(count, int) or count < 1:
        return training_devices(config, device)
    return first_devices(device, count) or training_devices(config, device)
