"""The commands of `tenure`, one module for each kind. They parse and print; the work is in the modules above."""
