"""The script for a machine with a GPU runs from the checkout alone, here in its small form on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_script_for_gpus_runs_on_the_cpu(tmp_path: Path) -> None:
    """Red where a part breaks with the code that it measures; there is no GPU here that would show it."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device", "cpu", "--quick", "--out", "gpu.json"]
    caches = {"SPARRING_CACHE": str(tmp_path / "cache"), "PYTHONPATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | caches, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert not [(name, part["failed"]) for name, part in result["parts"].items() if "failed" in part]
    assert {name for name, part in result["parts"].items() if "skipped" in part} <= {"fashion-mnist", "digits"}
    lines = (tmp_path / "gpu.md").read_text().splitlines()
    assert lines[0].startswith("CPU, PyTorch")
    assert len(lines) > 4 + len(result["parts"])
