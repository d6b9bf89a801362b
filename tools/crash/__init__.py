"""Kills a host under load with SIGKILL, again and again, and counts the money (`python -m tools.crash`).

Durable before reply means: whatever was acknowledged is there after any crash. And a turn is atomic and never run
twice: whatever was sent once is there at most once. `books.py` holds the arithmetic, `traffic.py` the load.
"""
