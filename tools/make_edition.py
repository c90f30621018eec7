"""Makes the small edition of TrashNet that the package ships.

python -m tools.make_edition dataset-resized.zip

Writes `trashnet/assets/photos/`: the photos at 384 × 288 as WebP, in Parquet files as `datasets`
reads them, and which content is which photo; the same bytes each time with the same Pillow.
"""

import argparse
import hashlib
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from trashnet.data.archive import read_pictures
from trashnet.data.dataset import trashnet_facts
from trashnet.data.editions import CONTENTS, FOLDER
from trashnet.progress import parallel, silent

SIZE = (384, 288)
QUALITY = 80
FILES = 2
"""Hosts of repositories refuse files of more than 10 MB."""


def shrink(photo: bytes) -> bytes:
    """Returns a photo of the Hub's zip as it is shipped."""
    with Image.open(io.BytesIO(photo)) as opened:
        small = opened.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    content = io.BytesIO()
    small.save(content, "WEBP", quality=QUALITY, method=6)
    return content.getvalue()


def main() -> None:
    """Makes the edition."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zip", type=Path, help="the Hub's dataset-resized.zip")
    found = dict(read_pictures(parser.parse_args().zip))
    photos = {"/".join(name.split("/")[-2:]): content for name, content in found.items()}
    files = list(trashnet_facts().index)
    if sorted(photos) != sorted(files):
        raise SystemExit("This is not TrashNet's dataset-resized.zip.")
    small = dict(zip(files, parallel(lambda f: shrink(photos[f]), files, silent, ""), strict=True))
    FOLDER.mkdir(exist_ok=True)
    labels = sorted(set(trashnet_facts().label))
    features = {
        "image": {"_type": "Image"},
        "label": {"names": labels, "_type": "ClassLabel"},
    }
    schema = pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
        ],
        {"huggingface": json.dumps({"info": {"features": features}})},
    )
    for number in range(FILES):
        part = files[number::FILES]  # photos of some classes are larger than of others
        rows = [
            {"image": {"bytes": small[f], "path": f}, "label": labels.index(f.split("/")[0])}
            for f in part
        ]
        path = FOLDER / f"train-{number:05d}-of-{FILES:05d}.parquet"
        # Bytes that are compressed already gain nothing; statistics of them would double a file.
        table = pa.Table.from_pylist(rows, schema)
        pq.write_table(
            table, path, compression="none", write_statistics=False, use_dictionary=False
        )
        print(f"{path.name}: {len(part):,} photos, {path.stat().st_size:,} bytes")
    sha256 = {
        name: [hashlib.sha256(of[file]).hexdigest() for file in files]
        for name, of in (("full", photos), ("small", small))
    }
    pd.DataFrame({"file": files, **sha256}).to_csv(CONTENTS, index=False)


if __name__ == "__main__":
    main()
