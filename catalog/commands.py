"""Ask and plan: policies, the mix, and every question about a pair.

    python -m catalog decide --policy infra/policies/paper.toml
    python -m catalog diff infra/policies/paper.toml infra/policies/strict.toml
    python -m catalog mix --weights infra/mixes/demo.toml
    python -m catalog duplicates --barred benchmarks.txt
    python -m catalog explain 7cd5fccc
    python -m catalog replay 7cd5fccc
    python -m catalog revoke --licence CC-BY-NC-2.0
    python -m catalog stats
    python -m catalog verify --deep
    python -m catalog plan --steps 100:110
    python -m catalog export --format datasets --output exports/pairs
    python -m catalog clean

All work on the workspace: $IEIW_HOME, else the working directory. Nothing is generated again, but for `replay`, which
needs the helper models: it starts `python -m tasks replay`, whose options it takes.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from catalog import export_command, mix_command, reports
from catalog.cleaning import find_generated, remove_generated
from catalog.counts import count_build
from catalog.decisions import Decision, compare, decide
from catalog.duplicates import NEAR_BITS, as_dict, barred_photos, list_barred, read_barred, read_photos
from catalog.errors import ConfigError, ShardError
from catalog.explanation import explain
from catalog.explanation_words import in_words
from catalog.manifests import list_manifests
from catalog.outputs import check_output
from catalog.policies import Policy
from catalog.policy_diff import diff_policies, find_decision, find_policy, find_replaced
from catalog.revocation import (
    KINDS,
    Revocation,
    Tombstone,
    read_tombstones,
    revoked_pairs,
    tombstone_path,
    trace,
    write_tombstone,
)
from catalog.roots import parse_roots
from catalog.verification import verify
from catalog.waterfall import write_waterfall
from catalog.workspace import Workspace

_BUILD = "build-ieiw"
_INFRA = Path(__file__).parents[1] / "infra"
_POLICY = _INFRA / "policies" / "embedded.toml"
_MAX_RADIUS = 16  # beyond it, most photos look the same


def main(arguments: Sequence[str]) -> int:
    """Run one subcommand; exit status 0, or 1 where ``verify`` finds something wrong or ``replay`` a difference."""
    if arguments[:1] == ["replay"]:  # the layer above: started, not imported
        return subprocess.run([sys.executable, "-m", "tasks", *arguments], check=False).returncode
    options = _parse(arguments)
    run = {
        "clean": _clean,
        "decide": _decide,
        "diff": _diff,
        "duplicates": _duplicates,
        "explain": _explain,
        "export": export_command.run_export,
        "mix": mix_command.run_mix,
        "plan": mix_command.run_plan,
        "revoke": _revoke,
        "stats": _stats,
        "verify": _verify,
    }[options.command]
    return run(options, Workspace.default())


def _clean(options: argparse.Namespace, workspace: Workspace) -> int:
    places = find_generated(workspace) if options.dry_run else remove_generated(workspace)
    names = [place.relative_to(workspace.home).as_posix() for place in places]
    if options.json:
        _say(json.dumps(names, indent=2))
        return 0
    done = "would be removed" if options.dry_run else "removed"
    _say("\n".join([*names, f"{len(names)} files and folders below {workspace.home} {done}"]))
    return 0


def _decide(options: argparse.Namespace, workspace: Workspace) -> int:
    # What is on record is read first: it may have the name of the decision to be made.
    other = find_decision(workspace, options.build, options.against, options.threads) if options.against else None
    picture = options.picture and check_output(options.picture, ".png", workspace)
    policy = Policy.read(options.policy)
    replaced = find_replaced(workspace, options.build, policy)
    decision = decide(workspace, options.build, policy, options.threads)
    if picture is not None:
        write_waterfall(decision, picture)
    if options.json:
        values = _decision_values(decision) | {"replaced_policy": replaced and replaced.as_dict()}
        _say(json.dumps(values, indent=2))
        return 0
    _say(f"Policy {policy.name} v{policy.version} on {options.build}: {policy.description}\n")
    _say(reports.waterfall(decision))
    if other is not None:
        changes = compare(workspace, other, decision.manifest)
        names = [f"{one['name']} v{one['version']}" for one in (other.parameters["policy"], policy.as_dict())]
        _say("\n" + reports.changes(changes, *names))
    path = decision.manifest.paths(workspace, "verdicts")[0]
    _say(f"\nverdicts {'written to' if decision.made else 'already in'} {path}")
    if replaced is not None:
        _say(reports.replaced_policy(options.build, replaced, policy))
    return 0


def _diff(options: argparse.Namespace, workspace: Workspace) -> int:
    first, second = (find_policy(workspace, options.build, name) for name in (options.first, options.second))
    diff = diff_policies(workspace, options.build, first, second, options.threads, options.memory_limit)
    if options.json:
        _say(json.dumps(diff.as_dict(), indent=2))
        return 0
    names = [f"{one.name} v{one.version}" for one in (first, second)]
    _say(f"{options.build}: {reports.counted(diff.first.num_pairs, 'pair')}\n")
    moves = [[one or "accepted", two or "accepted", count] for (one, two), count in diff.moves.items() if one != two]
    _say(reports.text_table([names[0], names[1], "pairs"], moves))
    _say("\n" + reports.changes(diff.changes, *names))
    return 0


def _decision_values(decision: Decision) -> dict[str, object]:
    return {
        "build": decision.build,
        "policy": decision.policy.as_dict(),
        "thresholds": decision.thresholds,
        "waterfall": [asdict(stage) for stage in decision.waterfall],
    }


def _duplicates(options: argparse.Namespace, workspace: Workspace) -> int:
    if not 0 <= options.radius <= _MAX_RADIUS:
        raise ConfigError(f"--radius must be from 0 to {_MAX_RADIUS} bits. Got {options.radius}")
    if options.list_images is not None:
        _say("\n".join(list_barred(options.list_images)))
        return 0
    barred = read_barred(options.barred) if options.barred else {}
    photos, unread = read_photos(workspace, options.build or [_BUILD])
    found = as_dict(photos, unread, options.radius)
    found["barred"] = barred_photos(photos, barred, options.radius)
    _say(json.dumps(found, indent=2) if options.json else reports.duplicates(found))
    return 0


def _explain(options: argparse.Namespace, workspace: Workspace) -> int:
    explanation = explain(workspace, options.pair_id, options.build, parse_roots(options.root))
    _say(json.dumps(explanation, indent=2, ensure_ascii=False) if options.json else in_words(explanation))
    return 0


def _revoke(options: argparse.Namespace, workspace: Workspace) -> int:
    given = [(kind, value) for kind in KINDS for value in getattr(options, kind) or []]
    tombstones = [Tombstone(kind=kind, value=value, note=options.note) for kind, value in given]
    on_record = [] if tombstones else read_tombstones(workspace)
    if not tombstones and not on_record:
        names = ", ".join(f"--{kind}" for kind in KINDS)
        raise ConfigError(f"nothing is withdrawn yet, so revoke needs one of {names}: say what to withdraw")
    found = trace(workspace, tombstones or None)
    if not options.dry_run:
        for tombstone in tombstones:
            write_tombstone(workspace, tombstone)
    if options.json:
        _say(json.dumps(found.as_dict(), indent=2))
        return 0
    _say(reports.revocation(found))
    recorded = "recorded; decide and mix again" if found.pairs else "recorded"
    done = "nothing was recorded (--dry-run)" if options.dry_run else recorded
    num = reports.counted(len(tombstones or on_record), "withdrawal")
    _say(f"\n{num}: {done if tombstones else 'on record before'}")
    if unmatched := _unmatched(workspace, tombstones or on_record, found):
        files = {one: tombstone_path(workspace, one) for one in unmatched}
        _say(reports.unmatched_withdrawals(files, recorded=not (tombstones and options.dry_run)))
    return 0


def _unmatched(workspace: Workspace, tombstones: Sequence[Tombstone], found: Revocation) -> Sequence[Tombstone]:
    if not found.pairs or len(tombstones) == 1:
        return [] if found.pairs else tombstones
    return [one for one in tombstones if not revoked_pairs(workspace, [one])]


def _stats(options: argparse.Namespace, workspace: Workspace) -> int:
    counts = count_build(workspace, options.build)
    _say(json.dumps(asdict(counts), indent=2) if options.json else reports.build_counts(counts))
    return 0


def _verify(options: argparse.Namespace, workspace: Workspace) -> int:
    if not list_manifests(workspace):
        raise ShardError(f"no build in {workspace.catalog}: nothing to verify; is IEIW_HOME right?")
    found = verify(workspace, options.build, options.deep)
    _say(json.dumps(asdict(found), indent=2) if options.json else reports.verification(found, options.deep))
    return 1 if found.problems else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m catalog", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    plain = _options("--json", action="store_true", help="print JSON instead of tables")
    cores = _options("--threads", type=int, help="cores to use (default: all); changes no byte of the result")
    engine = argparse.ArgumentParser(add_help=False, parents=[cores])
    engine.add_argument("--memory-limit", metavar="SIZE", help="such as 4GB, then spill to TMPDIR (default: 80%%)")
    policy = _options("--policy", type=Path, default=_POLICY, help=f"policy file (default: {_shown(_POLICY)})")

    mix_command.add_mix(commands.add_parser("mix", parents=[policy, engine, plain], help="write the sampling plan"))

    decision = commands.add_parser("decide", parents=[policy, cores, plain], help="apply a policy to a build")
    decision.add_argument("--build", default=_BUILD, help="default: %(default)s")
    decision.add_argument("--against", metavar="POLICY", help="a policy file, or a policy decided before: what changes")
    decision.add_argument("--picture", type=Path, metavar="FILE", help="also draw the waterfall into this PNG file")

    diff = commands.add_parser("diff", parents=[engine, plain], help="which pairs a second policy treats otherwise")
    diff.add_argument("first", metavar="POLICY_A", help="a policy file, or the name of a policy decided before")
    diff.add_argument("second", metavar="POLICY_B", help="likewise")
    diff.add_argument("--build", default=_BUILD, help="default: %(default)s")

    same = commands.add_parser("duplicates", parents=[plain], help="photos that occur twice, or are benchmark images")
    same.add_argument("--build", action="append", help=f"a build; give it again for more (default: {_BUILD})")
    radius_help = "differing bits of 64 that still look the same (default: %(default)s)"
    same.add_argument("--radius", type=int, default=NEAR_BITS, help=radius_help)
    same.add_argument("--barred", type=Path, metavar="LIST", help="also name photos that a list of images bars")
    same.add_argument("--list-images", type=Path, metavar="FOLDER", help="only print such a list of a folder's images")

    pair = commands.add_parser("explain", parents=[plain], help="all that is known about a pair")
    pair.add_argument("pair_id", metavar="PAIR_ID", help="the id, or a beginning that no other pair has")
    pair.add_argument("--build", help="where to look (default: every build)")
    pair.add_argument(
        "--root", action="append", default=[], metavar="DATASET=FOLDER", help="where a source that has moved is now"
    )

    export_command.add_options(commands.add_parser("export", parents=[plain], help="a mix as other tools read it"))

    commands.add_parser("replay", help="make a pair again and compare bytes; 1 if anything differs")

    revoke = commands.add_parser("revoke", parents=[plain], help="withdraw an image, patch, licence or backend")
    shown = {"image": "SHA256", "patch": "REGION_ID", "licence": "TEXT", "backend": "ROLE=NAME[@REVISION]"}
    for kind, metavar in shown.items():
        revoke.add_argument(f"--{kind}", action="append", metavar=metavar, help="may be given again")
    revoke.add_argument("--note", default="", help="why; kept with the tombstone")
    revoke.add_argument("--dry-run", action="store_true", help="only list what would be reached")

    clean = commands.add_parser("clean", parents=[plain], help="remove what builds, mixes and runs made, no dataset")
    clean.add_argument("--dry-run", action="store_true", help="only list what would be removed")

    stats = commands.add_parser("stats", parents=[plain], help="rows by table, reason, dataset, edit type and split")
    stats.add_argument("--build", default=_BUILD, help="default: %(default)s")

    check = commands.add_parser("verify", parents=[plain], help="check files, digests and image ranges; 1 if wrong")
    check.add_argument("--build", help="one manifest (default: all, with mixes and leftovers)")
    check.add_argument("--deep", action="store_true", help="also read every image and compare its digest")

    mix_command.add_plan(commands.add_parser("plan", parents=[plain], help="which rows a training run saw"))
    return parser.parse_args(arguments)


def _options(*names: str, **settings: object) -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(*names, **settings)  # type: ignore[arg-type]
    return parent


def _shown(path: Path) -> str:
    return path.relative_to(_INFRA.parent).as_posix()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
