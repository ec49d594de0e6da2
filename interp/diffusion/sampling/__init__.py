"""From noise to images: deterministic DDIM, conditions, guidance, noise levels."""
