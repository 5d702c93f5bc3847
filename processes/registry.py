"""Which model runs which process. With this Lava need not look for models, which it does by executing every file around."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dyadic_neuro.processes.core.models import CoreModel
from dyadic_neuro.processes.core.process import Core
from dyadic_neuro.processes.forward.models import ForwardModel
from dyadic_neuro.processes.forward.process import Forward
from dyadic_neuro.processes.input.models import InputModel
from dyadic_neuro.processes.input.process import Input
from dyadic_neuro.processes.local import LocalModel, LocalProcess
from dyadic_neuro.processes.loss.models import LossModel
from dyadic_neuro.processes.loss.process import Loss
from dyadic_neuro.processes.recorder.models import RecorderModel
from dyadic_neuro.processes.recorder.process import Recorder
from dyadic_neuro.processes.sensitivity.models import SensitivityModel
from dyadic_neuro.processes.sensitivity.process import Sensitivity

MODELS: dict[type[LocalProcess], type[LocalModel]] = {
    Input: InputModel,
    Forward: ForwardModel,
    Sensitivity: SensitivityModel,
    Loss: LossModel,
    Recorder: RecorderModel,
    Core: CoreModel,
}


class Registry(Mapping[LocalProcess, type[LocalModel]]):
    """Maps a process (not its class) to its model, with Lava's type declarations for just the ports that it has.

    Lava 0.10.0 asks `process in registry` before it searches for files; a test holds it to that.
    """

    def __getitem__(self, process: Any) -> type[LocalModel]:  # noqa: ANN401  (Lava asks for anything)
        base = MODELS[type(process)]
        return type(base.__name__, (base,), {"tags": process.tags, **process.port_types})

    def __contains__(self, process: object) -> bool:
        """Whether the process is one of ours."""
        return type(process) in MODELS

    def __iter__(self) -> Iterator[LocalProcess]:
        """Go through nothing: processes are known by class only."""
        return iter(())

    def __len__(self) -> int:
        """Return the number of classes of processes: not 0, which Lava takes for "no registry"."""
        return len(MODELS)
