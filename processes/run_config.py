"""How Lava runs a circuit: our registry of models, and channels that stay in the cache."""

from __future__ import annotations

from lava.magma.core.run_configs import Loihi2SimCfg

from dyadic_neuro.processes.registry import Registry

COMPILE_CONFIG = {"pypy_channel_size": 2}
"""Two slots a channel: one being read, one being written. Lava's 64 cost 64 times the batch in shared memory."""


def run_config() -> Loihi2SimCfg:
    """Return the configuration that picks every model from the registry."""
    return Loihi2SimCfg(exception_proc_model_map=Registry())
