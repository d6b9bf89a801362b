"""What the engine is configured with, as far as those have to know who keep what it compiled."""

from __future__ import annotations

WASM_STACK_BYTES, FIBER_STACK_BYTES = 4 << 20, 6 << 20
CONFIGURATION = f"epoch,component-async,stack={WASM_STACK_BYTES}/{FIBER_STACK_BYTES}"
"""What a compiled artifact depends on besides the component and the library: part of the cache key."""
