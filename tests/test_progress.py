"""What a user sees of long work: on a terminal, in a pipe, with -q and with -v, wherever these stand."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import lab.progress
from lab.progress import PLAIN, QUIET, VERBOSE, Progress, flags, speak, step
from lab.records import LabError
from lab.search import main as search

ROOT = Path(__file__).parent.parent
# A command with a step of three seconds' worth of work, told by a clock of its own, a part inside it, and a warning.
WORK = """
import logging, sys, time
from lab.progress import Progress, flags, speak, step

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
words, level = flags(sys.argv[1:])
speak(level)
with Progress("rag") as progress, progress.step("answering", 300, "questions") as advance:
    for _ in range(3):
        with step("searching", 10, "passages") as inner:
            inner(10)
        time.sleep(0.15)
        advance(100, "half way" if _ == 1 else "")
    logging.warning("one thing is odd")
print("the result")
"""


def in_terminal(*words: str, width: int = 120) -> str:
    """What the command writes to a pseudo-terminal, without its colours and movements."""
    process, screen = pty.fork()
    if not process:
        os.environ.update({"TERM": "xterm", "PYTHONPATH": str(ROOT)})
        os.execv(sys.executable, [sys.executable, "-c", WORK, *words])
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    written = b""
    while True:
        try:
            chunk = os.read(screen, 65536)
        except OSError:  # how a pseudo-terminal says that the other end is closed
            break
        if not chunk:
            break
        written += chunk
    assert os.waitpid(process, 0)[1] == 0, written
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())


def in_pipe(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WORK, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )  # fmt: skip


def test_a_terminal_shows_what_how_far_how_fast_and_how_long_still() -> None:
    seen = in_terminal()
    for part in (
        r"rag: answering",
        r"100/300",
        r"300/300",
        r"\d+ questions/s",
        r"0:00:0\d",
        r"\(half way\)",
        "searching",
    ):
        assert re.search(part, seen), (part, seen)
    (odd,) = [line for line in re.split(r"[\r\n]+", seen) if "one thing is odd" in line]
    assert odd.strip() == "one thing is odd"  # above the bars, and not through them
    assert seen.rstrip().endswith("the result")
    narrow = in_terminal(width=80)
    assert "100/300" in narrow
    assert "━" not in narrow
    assert max(map(len, re.split(r"[\r\n]+", narrow))) <= 80


def test_a_pipe_gets_plain_lines_and_no_bars() -> None:
    done = in_pipe()
    lines = done.stderr.splitlines()
    assert done.stdout == "the result\n"
    assert len(lines) == 3
    assert re.fullmatch(r"rag: answering, 200 of 300 questions, \d+ questions/s, \d s left, half way", lines[0])
    assert lines[1] == "one thing is odd"
    assert re.fullmatch(r"rag: answering, \d\.\d s, \d+ questions/s", lines[2])
    assert "\x1b" not in done.stderr


def test_quiet_leaves_the_result_and_what_is_wrong() -> None:
    assert in_pipe("-q").stderr == "one thing is odd\n"
    assert in_terminal("-q").split() == ["one", "thing", "is", "odd", "the", "result"]


def test_verbose_tells_every_part() -> None:
    assert in_pipe("-v").stderr.count("rag: searching") == 3


def test_flags_stand_anywhere() -> None:
    words = ["-m", "pipeline=rag", "experiment=exam"]
    for place in range(4):
        assert flags([*words[:place], "-q", *words[place:]]) == (words, QUIET)
        assert flags([*words[:place], "-v", *words[place:]]) == (words, VERBOSE)
    assert flags(words) == (words, PLAIN)
    with pytest.raises(LabError, match="give one of them"):
        flags(["-q", "-v"])


def test_a_line_now_and_then_says_how_long_still(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(lab.progress.time, "perf_counter", lambda: now[0])
    caplog.set_level(logging.INFO)
    with Progress("cpt") as progress, progress.step("training", 700_000, "tokens") as advance:
        for _ in range(7):
            now[0] += 20
            advance(100_000)
    # Every 30 s at the most, so at 40, 80 and 120; 5,000 tokens/s, of which 500,000, 300,000 and 100,000 are left.
    assert [record.getMessage() for record in caplog.records] == [
        "cpt: training, 200,000 of 700,000 tokens, 5,000 tokens/s, 2 min left",
        "cpt: training, 400,000 of 700,000 tokens, 5,000 tokens/s, 60 s left",
        "cpt: training, 600,000 of 700,000 tokens, 5,000 tokens/s, 20 s left",
        "cpt: training, 140.0 s, 5,000 tokens/s",
    ]


def test_a_part_has_a_line_where_somebody_waited_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(lab.progress.time, "perf_counter", lambda: now[0])
    caplog.set_level(logging.INFO)
    with step("reading", 3, "files") as advance:  # of no command: nothing is shown
        advance(3)
    with Progress("rag"):
        for seconds in (4.0, 6.0):
            with step("reading", 3, "files") as advance:
                now[0] += seconds
                advance(3)
    assert [record.getMessage() for record in caplog.records] == ["rag: reading, 6.0 s, 0.5 files/s"]


def test_a_step_that_fails_is_not_told_as_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(LabError), Progress("rag") as progress, progress.step("answering"):
        raise LabError("no")
    assert not caplog.records


def test_a_command_of_argparse_takes_the_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert search([str(tmp_path / "none"), "-q", "Who?"]) == 2
        with pytest.raises(LabError, match="no such folder"):
            search([str(tmp_path / "none"), "Who?", "-v"])
    finally:
        speak(PLAIN)
    assert len(capsys.readouterr().err.splitlines()) == 1
