"""`sightline verify`: whether everything that is kept is as it was written."""

import sys
from typing import Any

from sightline.cli.registry import located
from sightline.errors import DataError, UsageError


def verify(registry: str, cache: str, *, delete_damaged: bool) -> dict[str, Any]:
    """What was read and what is damaged, as JSON has it.

    Args:
        registry: a folder or ``s3://…``; empty: not looked at.
        cache: the same; damaged finished steps are deleted when ``delete_damaged`` says so, they can be computed again.

    Raises:
        UsageError: there is nothing to look at, or nothing at the address, or ``delete_damaged`` without a cache.
    """
    if not registry and not cache:
        raise UsageError("nothing to verify", remedy="name --registry, --cache or both")
    if delete_damaged and not cache:
        raise UsageError("--delete-damaged needs --cache", remedy="a registry is never changed; restore it from a backup")
    found: dict[str, Any] = {}
    for place in filter(None, (registry, cache)):
        _require_content(located(place))
    if registry:
        from sightline.registry.verify import verify_registry

        found["registry"] = verify_registry(located(registry)).model_dump(mode="json")
    if cache:
        found["cache"] = _cache(located(cache), delete_damaged=delete_damaged)
    return found


def _require_content(uri: str) -> None:
    from sightline.store.objects import open_store

    if not open_store(uri).list():
        raise UsageError(f"nothing is kept at {uri}", remedy="check the address: --registry is store.registry, --cache is store.cache")


def _cache(uri: str, *, delete_damaged: bool) -> dict[str, Any]:
    from sightline.store.verify import delete_step, verify_cache

    damaged: dict[str, str] = {}
    steps = 0
    for checked in verify_cache(uri):
        steps += 1
        if checked.problem:
            damaged[checked.key] = checked.problem
            if delete_damaged:
                delete_step(uri, checked.key)
        if steps % 50 == 0:
            sys.stderr.write(f"  {steps} finished steps read, {len(damaged)} damaged\n")
    return {"steps": steps, "damaged": damaged, "deleted": sorted(damaged) if delete_damaged else []}


def problems(found: dict[str, Any]) -> list[str]:
    """What is damaged and still there."""
    registry = found.get("registry", {}).get("problems", [])
    cache = found.get("cache", {"damaged": {}, "deleted": []})
    return [*registry, *(text for key, text in cache["damaged"].items() if key not in cache["deleted"])]


def describe(found: dict[str, Any]) -> str:
    """What was read, for a terminal."""
    lines = []
    if "registry" in found:
        state = found["registry"]
        counts = ", ".join(f"{state[name]} {name}" for name in ("generations", "models", "looks", "audits", "records"))
        lines.append(f"  registry  {counts} read")
    if "cache" in found:
        state = found["cache"]
        lines.append(f"  cache     {state['steps']} finished steps read, {len(state['damaged'])} damaged, {len(state['deleted'])} deleted")
    return "\n".join(lines) + "\n"


def close(found: dict[str, Any]) -> None:
    """Raises DataError when something damaged is left."""
    left = problems(found)
    if left:
        raise DataError(
            "what is kept was altered or is missing",
            problems=left,
            remedy="see docs/runbooks/store-corrupt.md: a cache can be deleted (--delete-damaged), a registry is restored",
        )
