"""Which part of a path decides who answers. A process, and the gateway before several, ask the same question."""

Prefix = tuple[str, ...]


def prefix_of(path: str) -> Prefix:
    """Name the part of a path that decides which service answers: one word, after `api` and `v1` two.

    Every service has routes for operators: after `/api/operations` its name decides.
    """
    words = path.split("/")[1:3]
    if words == ["api", "operations"]:
        return tuple(path.split("/")[1:4])
    return tuple(words) if words[0] in ("api", "v1") else (words[0],)
