"""The command line: a client of the admin API. Of the other rooms only `serve` and `dev` reach more than `model`."""
