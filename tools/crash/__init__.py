"""Does harm to a host under load, again and again, and counts the money (`python -m tools.crash`).

Durable before reply means: whatever was acknowledged is there after any crash. And a turn is atomic and never run
twice: whatever was sent once is there at most once. `kinds.py` has the blows, `books.py` the arithmetic, `traffic.py`
the load, `mutants.py` hosts with a planted bug that the rounds must find.
"""
