"""How long a person waits for nothing: `jetexp --help` and a typo, against `import mlflow`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROUNDS = 7


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        typo = Path(folder) / "typo.yaml"
        typo.write_text((ROOT / "experiments" / "w_vs_qcd.yaml").read_text().replace("seeds:", "sedes:"))
        commands = {
            'python -c "import mlflow"': [sys.executable, "-c", "import mlflow"],
            "jetexp --help": [sys.executable, "-m", "jetexp", "--help"],
            "jetexp run typo.yaml": [sys.executable, "-m", "jetexp", "run", str(typo)],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(ROUNDS + 1):  # by turns, so that a change of the machine's speed meets all
            for name, command in commands.items():
                started = time.perf_counter()
                subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
                if turn:  # the first warms the disk's cache
                    seconds[name].append(time.perf_counter() - started)
    reference, *others = (statistics.median(values) for values in seconds.values())
    print(f"{'command':28} {'median s':>9} {'ratio':>6}")
    for name, median in zip(seconds, (reference, *others), strict=True):
        print(f"{name:28} {median:9.2f} {median / reference:6.2f}")


if __name__ == "__main__":
    main()
