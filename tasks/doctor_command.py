"""Check each helper model of a profile: files, digests, loading, a run on photos, known facts.

    python -m tasks doctor --profile paper
    python -m tasks doctor --profile paper --role inpainter --set backends.options.inpainter.device=cpu

Nothing is downloaded. Exit status 0: nothing is wrong; 1: something is, and each line says what to do; 2: bad input.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from catalog.errors import ConfigError
from tasks.backends.registry import ROLES
from tasks.doctor import FAILED, SKIPPED, examine
from tasks.profiles import find_profile, read_profile
from tasks.replay_command import parse_settings


def main(arguments: Sequence[str]) -> int:
    """Examine a profile's helper models; 1 where one fails a check."""
    options = _parse(arguments)
    if unknown := sorted(set(options.role) - set(ROLES)):
        raise ConfigError(f"--role must be one of {', '.join(ROLES)}. Got {unknown[0]!r}")
    profile = read_profile(find_profile(options.profile), parse_settings(options.set))
    findings = []
    for finding in examine(profile, options.role):
        findings.append(finding)
        if not options.json:
            columns = f"{finding.role:<17} {finding.backend:<17} {finding.check:<11} {finding.outcome:<8}"
            sys.stdout.write(f"{columns} {finding.detail}\n")
            sys.stdout.flush()
    num_failed = sum(finding.outcome == FAILED for finding in findings)
    if options.json:
        sys.stdout.write(json.dumps([finding.as_dict() for finding in findings], indent=2) + "\n")
    else:
        unknown_facts = sum(finding.check == "known fact" and finding.outcome == SKIPPED for finding in findings)
        note = f"; {unknown_facts} known facts not asked, they need real weights" if unknown_facts else ""
        sys.stdout.write(f"\n{profile.name}: {len(findings)} checks, {num_failed or 'none'} failed{note}\n")
    return 1 if num_failed else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tasks doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--profile", default="embedded", help="a profile file, or its name in infra/profiles (default: %(default)s)"
    )
    parser.add_argument("--role", action="append", default=[], help="only this role; may be given again (default: all)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a value of the profile by dotted name"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser.parse_args(arguments)
