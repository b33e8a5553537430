"""``lethe scan``: the contract of its pipe, and what a person sees."""

import json
import os
import pty
import subprocess
import sys
from typing import Any

from conftest import CACHE_DIR


def scan(lines: bytes) -> tuple[int, list[Any], str]:
    """Return exit code, output objects and standard error of a run in a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "scan"], input=lines, capture_output=True, check=False, timeout=120
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def test_each_line_comes_back_redacted_with_spans_in_code_points() -> None:
    """Ids of any kind come back, spans count code points of the input, and a clean text comes back as it was."""
    texts = ["write to lena@example.com", "\U0001f600 lena@example.com and lena@example.com", "nothing here", ""]
    lines = b"\n".join(json.dumps({"id": number, "text": text}).encode() for number, text in enumerate(texts))
    code, out, err = scan(lines)
    assert (code, err) == (0, "")
    assert out == [
        {"id": 0, "text": "write to <EMAIL_1>", "spans": [[9, 25, "EMAIL_ADDRESS"]]},
        {
            "id": 1,
            "text": "\U0001f600 <EMAIL_1> and <EMAIL_1>",
            "spans": [[2, 18, "EMAIL_ADDRESS"], [23, 39, "EMAIL_ADDRESS"]],
        },
        {"id": 2, "text": "nothing here", "spans": []},
        {"id": 3, "text": "", "spans": []},
    ]


def test_a_bad_line_is_named_by_number_and_the_others_are_done() -> None:
    """The error says which line and not what is in it, and the exit code is 1."""
    code, out, err = scan(b'{"id": 1, "text": "a"}\nzebedee\n{"id": 2}\n\n{"id": 3, "text": "b"}\n')
    assert [entry["id"] for entry in out] == [1, 3]
    assert (code, "zebedee" in err) == (1, False)
    assert [line.split(":")[1] for line in err.splitlines()] == [" line 2", " line 3"]


def test_a_text_with_too_much_to_look_at_is_redacted_whole() -> None:
    """What exceeds the budget is one span of the whole text."""
    text = "+1 212-555-0123\n" * 2000
    _, out, _ = scan(json.dumps({"id": "x", "text": text}).encode())
    assert out == [{"id": "x", "text": "<REDACTED>", "spans": [[0, len(text), "REDACTED"]]}]


def test_a_terminal_shows_the_text_coloured_with_rule_and_score() -> None:
    """On a terminal the text is readable as it was, and each span has its rule and score below."""
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LETHE_CACHE": str(CACHE_DIR)}
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "scan"], stdin=subprocess.PIPE, stdout=side, env=environment
    ) as command:
        command.communicate(b'{"id": 1, "text": "write to lena@example.com"}\n', timeout=120)
    os.close(side)
    shown = os.read(main, 65536).decode()
    os.close(main)
    assert command.returncode == 0
    assert "\x1b[" in shown
    assert "EmailRecognizer 1.00" in shown
