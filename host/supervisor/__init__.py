"""The processes of a host: the control process starts workers, tells them what serves, and replaces those that die."""
