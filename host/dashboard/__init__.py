"""The dashboard: pages for people, made of what the admin API tells. Described in docs/dashboard.md."""
