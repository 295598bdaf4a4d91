"""Runs every benchmark, one after the other: `python -m bench [name ...]`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    wanted = sys.argv[1:] or sorted(path.stem for path in HERE.glob("bench_*.py"))
    failed = []
    for name in wanted:
        module = name if name.startswith("bench_") else f"bench_{name}"
        print(f"== {module}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{module}"], cwd=HERE.parent, check=False).returncode:
            failed.append(module)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
