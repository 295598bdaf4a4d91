"""Cuts the known paths of tiers 1 and 2 out of a file of facts about Graph's security surface.

    python schema/paths.py SURFACE.json

writes `src/bartizan/model/paths.json`: version -> path -> [verbs], keys as `{}`, one line a path, sorted. The coverage
page lists each of them as served, not yet or never. What the facts lack (sets of 2018 to 2021, `$batch`, aliases) is
added from ADDED.
"""

import json
import re
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "src" / "bartizan" / "model" / "paths.json"

BOTH = ("v1.0", "beta")
ADDED: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "/$batch": (BOTH, ["POST"]),
    "/$metadata": (BOTH, ["GET"]),
    "/me": (BOTH, ["GET"]),
    "/security/incidents/{}/comments": (BOTH, ["POST"]),
    "/directoryRoles": (BOTH, ["GET"]),
    "/directoryRoles/{}": (BOTH, ["GET"]),
    "/directoryRoles/{}/members": (BOTH, ["GET"]),
    "/reports/authenticationMethods/userRegistrationDetails": (BOTH, ["GET"]),
    "/reports/credentialUserRegistrationDetails": (("beta",), ["GET"]),
    "/locatedRiskEvents/{}": (BOTH, ["GET"]),
    **{
        path: (BOTH, ["GET"])
        for name in (
            "identityRiskEvents",
            "anonymousIpRiskEvents",
            "impossibleTravelRiskEvents",
            "leakedCredentialsRiskEvents",
            "malwareRiskEvents",
            "suspiciousIpRiskEvents",
            "unfamiliarLocationRiskEvents",
        )
        for path in (f"/{name}", f"/{name}/{{}}")
    },
}


def shape(path: str) -> str:
    """Keys and arguments as `{}`, operations by their bare name."""
    path = re.sub(r"(/(?:users|groups|devices|servicePrincipals))\([^()]+\)", r"\1/{}", path)
    path = re.sub(r"\([^()]*\)", "", path)
    path = re.sub(r"\{[^{}]*\}", "{}", path)
    return re.sub(r"microsoft\.graph\.(security\.)?", "", path)


def main() -> None:
    surface = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    known: dict[str, dict[str, list[str]]] = {}
    for version in BOTH:
        paths = known.setdefault(version, {})
        for path, fact in surface[version]["paths"].items():
            if fact.get("tier") in (1, 2):
                verbs = set(paths.get(shape(path), [])) | set(fact["methods"])
                paths[shape(path)] = sorted(verbs)
        for path, (versions, verbs_added) in ADDED.items():
            if version in versions:
                paths[path] = sorted({*paths.get(path, []), *verbs_added})
    lines = [
        f'  "{version}": {{\n'
        + ",\n".join(f"    {json.dumps(path)}: {json.dumps(verbs)}" for path, verbs in sorted(known[version].items()))
        + "\n  }"
        for version in BOTH
    ]
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    sys.stdout.write(f"{ {version: len(paths) for version, paths in known.items()} }\n")


if __name__ == "__main__":
    main()
