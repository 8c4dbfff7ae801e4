"""What a command shows on a pseudo-terminal, and what it needs."""

import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import NamedTuple

from warm import Process

ON_A_TERMINAL = """
import os
terminal = os.open(os.environ["TERMINAL"], os.O_RDWR)
for descriptor in range(3):
    os.dup2(terminal, descriptor)
os.close(terminal)
import sparring.evaluation.figures as figures
import sparring.training.progress as progress
progress.BAR_SECONDS, figures.DIVERGENCE_STEPS = 0.05, 20
from sparring.cli.main import main
main()
"""
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COMMAND = re.compile(r"  (look|sample|python|resume)  ")


class Line(NamedTuple):
    """A line as it was written; one that is written again comes again."""

    text: str  # without colours
    at: float  # seconds since the command began


def show(columns: int, *arguments: str, cwd: Path, code: int = 0) -> list[Line]:
    """The lines that a command writes into a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    environment |= {"TERM": "xterm", "TERMINAL": os.ttyname(theirs)}
    parts, begun = list[tuple[bytes, float]](), time.monotonic()

    def read() -> None:
        while True:
            try:
                parts.append((os.read(ours, 2**16), time.monotonic() - begun))
            except OSError:  # it has ended
                return

    reader = threading.Thread(target=read)
    reader.start()
    process = Process(*arguments, cwd=cwd, env=environment, code=ON_A_TERMINAL)
    process.communicate()
    os.close(theirs)
    reader.join()
    os.close(ours)
    lines, rest, decoder = list[Line](), "", codecs.getincrementaldecoder("utf-8")()
    for part, at in [*parts, (b"\n", parts[-1][1])]:
        *whole, rest = re.split(r"[\r\n]+", rest + decoder.decode(part))
        lines += [Line(ESCAPE.sub("", text), at) for text in whole]
    assert process.returncode == code, "\n".join(line.text for line in lines)
    return lines


def words(lines: list[Line]) -> str:
    """All words with single spaces, however they are wrapped."""
    return " ".join(" ".join(line.text for line in lines).split())


def check_widths(lines: list[Line], columns: int) -> None:
    """No line is wider than the terminal but commands to copy and long paths, and nothing is cut."""
    for line in lines:
        is_whole = COMMAND.match(line.text) or " " not in line.text.strip()
        assert is_whole or len(line.text) <= columns, line.text
        assert "…" not in line.text, line.text


def pasted(lines: list[Line], key: str) -> list[str]:
    """The arguments of the command that the end of a training offers."""
    found = [line.text.removeprefix(f"  {key:6}  sparring ") for line in lines if line.text.startswith(f"  {key:6}  ")]
    assert len(found) == 1
    return found[0].split()


class Cost(NamedTuple):
    """What a process of its own took."""

    gigabytes: float  # at its peak
    seconds: float  # of the processor


# A small process starts the command: Linux says that a process held at least as much as the one that started it.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call([sys.executable, *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, used.ru_utime + used.ru_stime, code)
"""


def measure(*arguments: str, cwd: Path) -> Cost:
    """Run Python with these arguments."""
    command = [sys.executable, "-c", MEASURE, *arguments]
    printed = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout
    peak, seconds, code = printed.split()[-3:]
    assert code == "0", printed
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kilobytes elsewhere
    return Cost(float(peak) / unit, float(seconds))
