"""`sctab doctor`."""

from __future__ import annotations

from json import dumps
from typing import Annotated

import typer

from sctab.cli._options import Debug
from sctab.cli._reporting import out, reports_errors

EXIT_PROBLEM = 1
"""Something on the machine has to be fixed."""


@reports_errors
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Check this machine: versions, libraries, device, threads, cache, file locks, proxies, certificates, indices and extras.

    Each problem comes with its fix. It works where PyTorch is broken, uses no network and changes nothing. The exit code is 1 if
    there is a problem.

    **Examples**

    `sctab doctor`

    `sctab doctor --json`
    """
    from sctab.zoo import check_machine

    findings = check_machine()
    problems = [finding for finding in findings if finding.problem]
    if json:
        out.print(dumps([finding.to_json() for finding in findings], indent=2, ensure_ascii=False), soft_wrap=True)
    else:
        width = max(len(finding.name) for finding in findings) + 2
        for finding in findings:
            out.print(f"{'!' if finding.problem else ' '} {finding.name:<{width}}{finding.value}", soft_wrap=True)
        for finding in problems:
            out.print(f"\n{finding.name}: {finding.problem}", soft_wrap=True)
        out.print(f"\n{len(problems)} problem{'' if len(problems) == 1 else 's'}." if problems else "\nNo problem was found.")
    if problems:
        raise typer.Exit(EXIT_PROBLEM)
