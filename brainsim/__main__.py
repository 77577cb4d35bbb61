"""`python -m brainsim` is the `brainsim` command."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
