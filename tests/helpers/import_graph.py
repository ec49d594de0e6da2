"""stub: replaced by the causal branch at merge."""


def cycles() -> list[set[str]]:
    return []
