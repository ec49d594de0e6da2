"""A result as the plain values that its page embeds, and the shape they must have."""
