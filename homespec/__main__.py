"""Command line: `python -m homespec` is `homespec`."""

from homespec.cli.main import main

if __name__ == "__main__":
    main()
