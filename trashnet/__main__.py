"""`python -m trashnet`: the command line."""

from trashnet.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
