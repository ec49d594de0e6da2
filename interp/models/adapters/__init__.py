"""Networks of other libraries as `Model`s."""
