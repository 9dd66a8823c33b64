"""Validators of other projects, each in an environment of its own.

    uv run python -m tests.validators

makes the environments that are not there yet, in the cache of the user, from PyPI. Tests use those that are there, and skip otherwise;
where `SCTAB_VALIDATORS` is `required`, as in `.ci/run`, they fail instead.
"""

import json
import os
import subprocess

import pytest

from sctab.benchmark._peers import default_environments, environment_of, make_environment

REQUIREMENTS = {
    "cap": ("cap-upload-validator==1.7.0",),
    "cellxgene": ("cellxgene-schema==7.1.2",),
    "sssom": ("sssom==0.4.21",),
}
PROGRAMS = {
    "cap": """
import json, sys
from cap_upload_validator import UploadValidator
found = {}
for path in sys.argv[1:]:
    try:
        UploadValidator(path).validate(report_success=False)
        found[path] = []
    except BaseException as error:  # CAP derives its errors from it
        found[path] = [str(each) for each in getattr(error, "ex_list", None) or [error]]
print(json.dumps(found))
""",
    "cellxgene": """
import json, sys
from cellxgene_schema.validate import validate
found = {}
for path in sys.argv[1:]:
    is_valid, errors, _ = validate(path)
    found[path] = [] if is_valid else errors
print(json.dumps(found))
""",
    "sssom": """
import json, sys
from sssom.parsers import parse_sssom_table
from sssom.validators import validate
found = {}
for path in sys.argv[1:]:
    reports = validate(parse_sssom_table(path), fail_on_error=False)
    found[path] = [result.message for report in reports.values() for result in report.results]
print(json.dumps(found))
""",
}
"""Each prints the errors of files as JSON."""


def errors_of(validator, *paths):
    """What a validator says against each file, in order; an empty list for a valid one."""
    python = environment_of(REQUIREMENTS[validator], default_environments())
    if not python.exists():
        reason = f"the validator `{validator}` is not installed: run `uv run python -m tests.validators`"
        if os.environ.get("SCTAB_VALIDATORS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, "-W", "ignore", "-c", PROGRAMS[validator], *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=alone)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return [found[str(path)] for path in paths]


if __name__ == "__main__":
    for requirements in REQUIREMENTS.values():
        make_environment(requirements, default_environments())
