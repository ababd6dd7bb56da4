"""The `scc-numba` command, also as `python -m scc_numba`."""

import sys


def main() -> None:
    """Load the command and run it; Ctrl-C while loading ends as quietly as later."""
    try:
        from scc_numba.cli import app
    except KeyboardInterrupt:
        print("scc-numba: interrupted", file=sys.stderr)
        sys.exit(130)
    app()


if __name__ == "__main__":
    main()
