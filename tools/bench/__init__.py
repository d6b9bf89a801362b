"""The account workload on this host and on workerd, in one run on one machine (`python -m tools.bench`).

Absolute figures say as much about the machine as about the host, so the two alternate within each repetition, medians
are taken over repetitions, and what is reported first is the ratio. No reply is taken on trust: the load generator
(`lg.c`) checks every one, and afterwards all balances are added up and compared with the deposits that were
acknowledged.
"""
