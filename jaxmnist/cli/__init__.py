"""The commands, one dataclass each: its fields are the options, its docstrings the help text.

Only names are imported at the top of these modules; what a command needs loads when it runs, so that `--help`
is quick.
"""

from jaxmnist.cli.benchmark import Benchmark
from jaxmnist.cli.compare import Compare
from jaxmnist.cli.demo import Demo
from jaxmnist.cli.doctor import Doctor
from jaxmnist.cli.evaluate import Evaluate
from jaxmnist.cli.export import Export
from jaxmnist.cli.find_lr import FindLr
from jaxmnist.cli.options import Command
from jaxmnist.cli.predict import Predict
from jaxmnist.cli.preview import Preview
from jaxmnist.cli.report import Report
from jaxmnist.cli.study import Study
from jaxmnist.cli.summary import Summary
from jaxmnist.cli.sweep import Sweep
from jaxmnist.cli.train import Train

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
