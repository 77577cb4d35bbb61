"""Switches for a whole process; nothing is switched at import."""

from pathlib import Path

import jax


def enable_x64(on: bool = True) -> None:
    """Compute in float64 from now on. Compile networks after this call; a simulation compiled before refuses to run."""
    jax.config.update("jax_enable_x64", bool(on))


def enable_cache(folder=None) -> Path:
    """Keep compiled programs on disk, so that a second process does not compile again.

    Args:
        folder: default `~/.cache/brainsim/xla`, a folder of the user; do not share it with people you do not trust.
    """
    folder = Path(folder) if folder is not None else Path.home() / ".cache" / "brainsim" / "xla"
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    return folder
