"""Sites: the places in a network whose activation can be read or changed."""

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from interp.core.names import require_known


@dataclass(frozen=True)
class Sites(Mapping[str, tuple[int | None, ...]]):
    """The sites of one network: canonical names to the shape of one example's activation there.

    In a shape, `None` is an axis whose length the input decides: `(None, 576)` is a token axis and a width,
    `(64, None, None)` a width and two image axes. `aliases` maps other names (TransformerLens hook names) to canonical ones.

    Example:
        >>> sites = Sites({"L0.mlp": (None, 64)}, {"blocks.0.mlp.hook_post": "L0.mlp"})
        >>> sites.resolve("blocks.0.mlp.hook_post")
        'L0.mlp'
    """

    shapes: Mapping[str, tuple[int | None, ...]]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> tuple[int | None, ...]:
        return self.shapes[self.resolve(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __contains__(self, name: object) -> bool:
        # Without this a missing site would raise, since __getitem__ explains what there is.
        return name in self.shapes or name in self.aliases

    def resolve(self, name: str) -> str:
        """The canonical name of a site.

        Raises:
            InputError: the site does not exist; the message names the nearest ones.
        """
        if name in self.shapes:
            return name
        if name in self.aliases:
            return self.aliases[name]
        return require_known("site", name, self.shapes, "`interp sites MODEL` or `model.sites` lists all")

    def width(self, name: str) -> int:
        """The length of the feature axis of a site (the first of an image's three axes, else the last); 0 where it is not known."""
        shape = self[name]
        return (shape[0] if len(shape) == 3 else shape[-1]) or 0

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><code>{html.escape(name)}</code></td><td>{shape}</td></tr>" for name, shape in list(self.shapes.items())[:60]
        )
        return f"<table><tr><th>site</th><th>shape</th></tr>{rows}</table><p>{len(self)} sites</p>"
