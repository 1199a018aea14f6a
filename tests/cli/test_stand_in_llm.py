"""The command as a process of its own: it says where it serves, serves, and stops."""

import json
import os
import signal
import subprocess
import sys
import urllib.request


def test_it_serves_until_it_is_stopped():
    command = [sys.executable, "-c", "from teachback.cli import main; main()", "stand-in-llm", "--port", "0"]
    # A shell that runs the tests in the background leaves SIGINT ignored, and processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
        try:
            first = server.stdout.readline()
            assert "not a language model" in first
            url = first.split()[-1]
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"{url}/models", timeout=10
            ) as answer:
                assert [model["id"] for model in json.load(answer)["data"]] == ["stand-in"]
            assert f"curl {url}/models" in server.stdout.readline()
        finally:
            server.send_signal(signal.SIGINT)
            rest, _ = server.communicate(timeout=10)
    assert server.returncode == 0
    assert "stopped" in rest
