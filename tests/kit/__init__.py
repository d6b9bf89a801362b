"""What tests and tools share: a host as a process, components built once, clients, and waiting with an end."""
