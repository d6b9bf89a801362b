"""The admin API, on which tenants create, ship, look at and delete functions. Documented in docs/admin-api.md."""
