"""The limits a guest and its tenant live under, with their defaults. Times are in seconds, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """What one function may use. A manifest's [limits] and the operator may change these per function."""

    request_wall_s: float = 30.0
    method_wall_s: float = 30.0
    actor_fetch_wall_s: float = 30.0
    init_wall_s: float = 30.0
    alarm_wall_s: float = 300.0
    call_cpu_s: float = 5.0
    memory_bytes_max: int = 128 * MiB
    """Of all memories of one instance together, give or take `sandbox.memories.FIXED_BYTES_MAX`."""
    table_elements_max: int = 100_000
    """Of one table; an instance has `sandbox.instance.TABLES_MAX` at most."""
    body_bytes_max: int = 10 * MiB
    key_bytes_max: int = 2 * KiB
    value_bytes_max: int = 1 * MiB
    turn_write_bytes_max: int = 16 * MiB
    actor_bytes_max: int = 1 * GiB
    actor_name_bytes_max: int = 1 * KiB
    mailbox_turns_max: int = 1_000
    mailbox_bytes_max: int = 64 * MiB
    call_depth_max: int = 16
    operations_max: int = 1_000
    operation_bytes_max: int = 64 * MiB
    log_bytes_per_call_max: int = 256 * KiB


@dataclass(frozen=True, slots=True)
class BundleLimits:
    """What may be shipped."""

    compressed_bytes_max: int = 50 * MiB
    unpacked_bytes_max: int = 200 * MiB
    files_max: int = 1_000
    source_map_bytes_max: int = 8 * MiB
    compile_wall_s: float = 120.0
    compile_cpu_s: float = 120.0
    compile_memory_bytes_max: int = 4 * GiB


@dataclass(frozen=True, slots=True)
class TenantLimits:
    env_vars_max: int = 64
    env_var_bytes_max: int = 5_000
    secrets_max: int = 100
    secret_bytes_max: int = 10_000


@dataclass(frozen=True, slots=True)
class LogLimits:
    """What is kept of what functions log. The oldest goes first."""

    function_bytes_max: int = 16 * MiB
    segment_bytes_max: int = 2 * MiB
    age_s_max: float = 7 * 24 * 3600.0
    line_chars_max: int = 16 * KiB
    waiting_function_bytes_max: int = 1 * MiB
    """What a process keeps of one function's lines that have not reached the next: a worker, or the disk's queue."""
    waiting_bytes_max: int = 16 * MiB
    invocation_lines_per_batch_max: int = 50
    """Of one function, of invocations that ended well: about ten batches a second leave a worker."""
    console_lines_per_batch_max: int = 2_000
    """Of one function, of what it logs: to make 10,000 into text takes the loop 100 ms."""
    followers_per_tenant_max: int = 32


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What one process holds at most."""

    handlers_busy_max: int = 256
    handlers_busy_per_tenant_max: int = 192
    handlers_warm_per_version_max: int = 64
    handler_queue_max: int = 4_096
    handler_queue_per_tenant_max: int = 3_072
    activations_max: int = 8_000
    activation_idle_s: float = 60.0


LIMITS = Limits()
BUNDLE_LIMITS = BundleLimits()
TENANT_LIMITS = TenantLimits()
HOST_LIMITS = HostLimits()
LOG_LIMITS = LogLimits()
