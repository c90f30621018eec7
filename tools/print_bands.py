"""Draws contact sheets of pairs by their matched features, to look at where one print ends.

    python -m tools.print_bands FOLDER

Writes a JPEG a band, 24 pairs drawn at random. Of the pairs that do not count as one object and lie
on two sides of the split by object, `across.jpg` has the 60 with the most matches, and
`neighbours.jpg` the 60 most similar of those whose file numbers follow each other, as photos taken
one after the other may. Says, too, how many of a class' pairs of one print are among the
candidates, having tried all of them.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from threadpoolctl import threadpool_limits

from trashnet.data.audit import contents
from trashnet.data.audit_findings import LISTED, SAME_PRINT, is_one_object
from trashnet.data.dataset import Photos, small_trashnet
from trashnet.data.image_io import side_by_side
from trashnet.data.prints import candidates, features_of, matched
from trashnet.data.scan import scan
from trashnet.data.splits import divide
from trashnet.environment import environment, quiet_tensorflow
from trashnet.progress import parallel, silent
from trashnet.training.embedding import embed, embed_and_audit

BANDS = ((LISTED, 9), (10, 11), (12, 14), (15, 19), (20, 39), (40, 600))
SHOWN, ACROSS, COLUMNS = 24, 60, 4


def sheet(photos: Photos, pairs: pd.DataFrame) -> Image.Image:
    """Returns the pairs side by side, each with its names, matches and similarity."""
    tiles = []
    for row in pairs.itertuples():
        points = np.reshape(row.points, (-1, 4))
        both = Image.fromarray(side_by_side(photos.root / row.one, photos.root / row.two, points))
        both.thumbnail((480, 200))
        tile = Image.new("RGB", (490, 200), "white")
        tile.paste(both, (0, 16))
        names = " / ".join(Path(file).stem for file in (row.one, row.two))
        ImageDraw.Draw(tile).text((2, 2), f"{names}  {row.matches}  {row.similarity:.2f}", "black")
        tiles.append(tile)
    rows = -(-len(tiles) // COLUMNS)
    whole = Image.new("RGB", (490 * COLUMNS, 200 * max(1, rows)), "white")
    for number, tile in enumerate(tiles):
        whole.paste(tile, (490 * (number % COLUMNS), 200 * (number // COLUMNS)))
    return whole


def recall(photos: Photos, scanned: pd.DataFrame, cache: Path, label: str = "plastic") -> None:
    """Prints how many pairs of one print the candidates have, of all pairs within a class."""
    rows = contents(scanned)
    features = features_of(photos, rows, cache)
    few = {tuple(pair) for pair in candidates(features, embed(photos, rows, cache)).tolist()}
    every = list(combinations(np.flatnonzero(rows.label == label).tolist(), 2))
    with threadpool_limits(1):
        counts = parallel(lambda p: len(matched(features[p[0]], features[p[1]])), every, silent, "")
    same = {pair for pair, count in zip(every, counts, strict=True) if count >= SAME_PRINT}
    print(f"{label}: {len(same & few)} of {len(same)} pairs of one print are candidates")


def neighbours(rows: pd.DataFrame, embeddings: NDArray[np.float32]) -> pd.DataFrame:
    """Returns the pairs of one class whose file numbers follow each other."""
    row_of = pd.Series(np.arange(len(rows)), rows.file)
    following = rows.file.str.replace(
        r"\d+", lambda number: str(int(number.group()) + 1), regex=True
    )
    one = np.flatnonzero(following.isin(row_of.index))
    two = row_of[following.iloc[one]].to_numpy()
    return pd.DataFrame(
        {
            "one": rows.file.iloc[one].to_numpy(),
            "two": rows.file.iloc[two].to_numpy(),
            "similarity": (embeddings[one] * embeddings[two]).sum(axis=1),
            "matches": 0,
            "points": [np.zeros(0)] * len(one),
        }
    )


def main() -> None:
    """Runs as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the sheets go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    quiet_tensorflow()
    env = environment()
    photos = small_trashnet(env)
    scanned = scan(photos, env.cache)
    embeddings, found = embed_and_audit(photos, scanned, env.cache)
    pairs = found.pairs[found.pairs.matches >= LISTED]
    for low, high in BANDS:
        band = pairs[pairs.matches.between(low, high)]
        some = band.sample(min(SHOWN, len(band)), random_state=0)
        sheet(photos, some).save(folder / f"{low}-{high}.jpg", quality=80)
        print(f"{low}-{high}: {len(band)} pairs")
    facts = found.facts
    split = divide(facts.label, facts.group, photos.classes, seed=0)[0]
    side = pd.Series(split == "test", index=facts.file)
    recall(photos, scanned, env.cache)

    def apart(some: pd.DataFrame) -> pd.DataFrame:
        group = facts.set_index("file").group
        is_known = is_one_object(some) | (some.one.map(group) == some.two.map(group))
        return some[~is_known & (some.one.map(side) != some.two.map(side))]

    following = neighbours(contents(scanned), embeddings)
    for name, some, by in (("across", pairs, "matches"), ("neighbours", following, "similarity")):
        left = apart(some)
        top = left.sort_values(by, ascending=False, kind="stable").head(ACROSS)
        sheet(photos, top).save(folder / f"{name}.jpg", quality=80)
        print(f"{name}, on two sides of the split by object: {len(left)} pairs")


if __name__ == "__main__":
    main()
