"""Backups of a host: taken of all that it keeps while it serves, held against themselves, made a host again."""
