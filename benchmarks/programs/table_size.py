"""Read a table and train on it, and print time and memory as JSON: run by ``table_scale.py``.

python benchmarks/programs/table_size.py FILE STEPS SIZE
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import pushforward as pf
from pushforward.tables.reading import reader as tables  # noqa: F401
from pushforward.training.api import prepare


def memory() -> dict[str, float]:
    """Resident memory now, and its peak, in MB."""
    lines = [
        line.split()
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(("VmRSS", "VmHWM"))
    ]
    return {name.rstrip(":"): int(value) / 1024 for name, value, _ in lines}


file = Path(sys.argv[1])
steps = int(sys.argv[2])
size = sys.argv[3]
pf.data.load("moons", limit=10)
start = memory()["VmRSS"]
began = time.process_time()
data = pf.data.load(file, target="target")
result = {"reading": time.process_time() - began, "after reading": memory()["VmHWM"] - start}
with tempfile.TemporaryDirectory() as folder:
    trainer = prepare(
        pf.recipes.flow(data.space, size),
        data,
        steps=steps + 5,
        checkpoint_every=10**6,
        out=Path(folder) / "run",
    )
    for _ in range(5):
        trainer.train_step(trainer.next_batch())
    began = time.process_time()
    for _ in range(steps):
        trainer.train_step(trainer.next_batch())
    result |= {
        "training": time.process_time() - began,
        "peak": memory()["VmHWM"] - start,
        "at the end": memory()["VmRSS"] - start,
    }
    trainer.close()
print(
    json.dumps(
        {
            **result,
            "file": file.stat().st_size / 2**20,
            "rows": len(data.train) + len(data.held_out),
        }
    )
)
