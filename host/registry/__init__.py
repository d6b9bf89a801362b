"""Who may ship what, and what serves: tenants, API keys, functions, immutable versions and the current deployment."""
