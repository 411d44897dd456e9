"""The commands, one dataclass each: its fields are the options, its docstrings the help text.

Only names are imported at the top of these modules; what a command needs loads when it runs, so that `--help`
is quick.
"""

from jaxmnist.commands.benchmark import Benchmark
from jaxmnist.commands.compare import Compare
from jaxmnist.commands.demo import Demo
from jaxmnist.commands.doctor import Doctor
from jaxmnist.commands.evaluate import Evaluate
from jaxmnist.commands.export import Export
from jaxmnist.commands.find_lr import FindLr
from jaxmnist.commands.options import Command
from jaxmnist.commands.predict import Predict
from jaxmnist.commands.preview import Preview
from jaxmnist.commands.report import Report
from jaxmnist.commands.study import Study
from jaxmnist.commands.summary import Summary
from jaxmnist.commands.sweep import Sweep
from jaxmnist.commands.train import Train

COMMANDS: dict[str, type[Command]] = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "export": Export,
    "demo": Demo,
    "benchmark": Benchmark,
    "compare": Compare,
    "study": Study,
    "sweep": Sweep,
    "report": Report,
    "summary": Summary,
    "preview": Preview,
    "find_lr": FindLr,
    "doctor": Doctor,
}
