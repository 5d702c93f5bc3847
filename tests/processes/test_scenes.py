"""The scenes themselves: a check for leftovers that cannot find any would be none."""

import re
from pathlib import Path

HEALTHY = """
    network = chain(tanh(telling("running")))
    with Lava().open(network) as session:
        threading.Thread(target=lambda: (time.sleep(60), os._exit(3)), daemon=True).start()
        session.relax(endless(network))
"""


def test_a_scene_knows_all_its_processes_and_all_its_shared_memory(scenes):
    scene, other = scenes(HEALTHY), scenes(HEALTHY)
    scene.wait_for("running")
    pids = scene.processes()
    # the script, Lava's interpreter, its resource tracker, the manager of shared memory, the runtime service, 7 processes
    assert len(pids) == 12
    assert not set(pids) & set(other.processes())
    mapped = set()
    for pid in pids:
        mapped |= set(re.findall(r"/dev/shm/(\S+)", Path(f"/proc/{pid}/maps").read_text()))  # noqa: S108  (where Linux keeps it)
    named = {name for name in mapped if not name.startswith("sem.")}  # semaphores lose their names at birth
    assert named == set(scene.memory())
    assert len(named) >= 20
    scene.process.kill()
    scene.leaves_nothing()
    assert not scene.processes()
    assert not scene.memory()
    assert len(other.processes()) > 1
