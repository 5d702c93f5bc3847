"""The network as Lava Processes: one folder a process, and the guard that keeps Lava from hanging.

slices.py       plain records: what each process is given, and nothing more        parts.py    those of a mapped network
input/ forward/ sensitivity/ loss/    one process a population and kind            core/       one process a core
recorder/       the way out. In each folder process.py says which ports there are, models.py what happens in a step
local.py        what all of them share: ports from data, a step that reports its own failure
axons.py        both ends of what crosses between populations, message by message, or in micro-steps
assembly.py     builds the processes of a plan and connects their ports
registry.py run_config.py    which model runs which process, so that Lava executes no other file
host.py         the child interpreter in which Lava lives        session.py   the guard around it
"""
