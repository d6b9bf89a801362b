"""A host at 70 % load for a long time, with all that happens to one: does anything grow? (`python -m tools.soak`)."""
