"""Train a model: `python train.py …` is `python -m trashnet train …`."""

import sys

from trashnet.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["train", *sys.argv[1:]]))
