"""`sctab doctor` as typed in a shell, also where PyTorch is broken."""

import json
import os
import subprocess
import sys


def run(*arguments, **environment):
    command = [sys.executable, "-m", "sctab", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def test_a_machine_without_problems():
    result = run("--json")
    findings = json.loads(result.stdout)
    problems = [finding for finding in findings if not finding["ok"]]
    assert result.returncode == (1 if problems else 0), result.stderr
    assert [
        finding["name"] for finding in problems if finding["name"] not in {"device", "threads", "temporary files", "cache"}
    ] == []


def test_a_broken_pytorch(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    result = run(PYTHONPATH=str(tmp_path))
    assert result.returncode == 1, result.stderr
    assert "! torch" in result.stdout
    assert "torch: `import torch` fails: OSError: libcudart.so.12: cannot open shared object file." in result.stdout
    assert result.stderr == ""
