"""Run an exported .onnx in onnxruntime (Python) and in onnxruntime-web (Node), and compare both with the library.

    npm install onnxruntime-web
    python benchmarks/exports.py RUN

It wants Node 18 or newer, and the package in the folder where it is called. What it measured stands in docs/exports.md.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import sparring
from sparring.generator.plain import Plain

N = 100
SCRIPT = Path(__file__).with_suffix(".mjs")


def median_ms(call: Callable[[], object]) -> float:
    """Of twenty calls, after one."""
    call()
    times = []
    for _ in range(20):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[10] * 1000


def main(run: str) -> None:
    """Print the largest differences and the times."""
    generator = sparring.load(run)
    plain = generator.to_torch()
    assert isinstance(plain, Plain)
    names, output = plain.names()
    latents, labels = generator.latents(N), generator.random_labels(N)
    given = [latents] if labels is None else [latents, labels]
    wanted = generator.generate(*given)
    feed = {name: value.numpy() for name, value in zip(names, given, strict=True)}
    for precision in ("float32", "float16"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            start = time.perf_counter()
            print(precision, generator.export(folder / "generator.onnx", precision=precision))
            print(f"  exported in {time.perf_counter() - start:.1f} s")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(folder / "generator.onnx", options, ["CPUExecutionProvider"])
            items = session.run(None, feed)[0]
            (folder / "latents.bin").write_bytes(latents.numpy().tobytes())
            numbers = None if labels is None else labels.tolist()
            inputs = {"n": N, "latent_dim": latents.shape[1], "labels": numbers, "output": output}
            (folder / "inputs.json").write_text(json.dumps(inputs))
            told = json.loads(subprocess.check_output(["node", SCRIPT, folder], text=True))
            web = np.frombuffer((folder / "items.bin").read_bytes(), wanted.dtype).reshape(told["dims"])
        for what, made in (("onnxruntime", items), ("onnxruntime-web", web)):
            difference = np.abs(made.astype(np.float64) - wanted)
            print(f"  {what}: largest difference {difference.max():.2g}, {(difference > 0).mean():.3%} differ")
        for n in (1, 64):
            part = {name: value[:n] for name, value in feed.items()}
            tensors = [torch.from_numpy(value) for value in part.values()]
            with torch.inference_mode():
                ours = median_ms(lambda tensors=tensors: plain(*tensors))  # type: ignore[misc]
            theirs = median_ms(lambda part=part, session=session: session.run(None, part))  # type: ignore[misc]
            web_ms = told["milliseconds"][str(n)]
            print(f"  {n} at once: PyTorch {ours:.2f} ms, onnxruntime {theirs:.2f} ms, onnxruntime-web {web_ms:.2f} ms")
        print(f"  labels that there are not: {told['refused']} of {0 if labels is None else 2} refused")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1])
