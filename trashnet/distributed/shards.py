"""Many photos divided into parts, each of which one worker answers in one go.

Which photos a part holds, and where each of them is, is known without reading one: whoever works on
a part again, after a kill or on another machine, answers for the very same photos.
"""

import dataclasses
import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trashnet.data.image_io import Source
from trashnet.data.walk import is_picture_name, is_visible_path
from trashnet.distributed.object_store import Place, one_line
from trashnet.errors import ConfigError, DataError, PhotoError
from trashnet.progress import Progress, parallel, silent

_SMALLEST, _LARGEST = 16, 1024
"""Photos in a part: at most what one core answers in some ten seconds."""

_AHEAD = 16
"""Photos an object store is asked for before their turn: its answers take longer than ours."""

_ROWS = 32
"""Rows of a Parquet file in memory at a time."""

_NAMES = ("file", "name", "path", "filename", "file_name", "key", "id", "url")
"""Columns that may name the photos, the likeliest first."""

Skip = Callable[[str], bool]
"""Whether the photo at a place is to be left out."""

Placed = tuple[str, str, Source | PhotoError]
"""Where a photo is, which no other photo of the source is; its name; and the photo itself."""


@dataclass(frozen=True)
class Files:
    """A part of a folder: photos that are files."""

    place: Place
    paths: tuple[str, ...]
    deaths: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def halves(self) -> tuple["Files", "Files"]:
        """Returns two parts that together are this one."""
        middle = len(self) // 2
        first, second = self.paths[:middle], self.paths[middle:]
        return dataclasses.replace(self, paths=first), dataclasses.replace(self, paths=second)

    def places(self) -> list[str]:
        """Returns where the photos are, in their order."""
        return [self.place.name(path) for path in self.paths]

    def photos(self, skip: Skip) -> Iterator[Placed]:
        """Yields the photos, less those to skip; a file's place is its name."""
        both = zip(self.places(), self.paths, strict=True)
        named = ((name, path) for name, path in both if not skip(name))
        if self.place.is_local:
            yield from ((name, name, Path(path)) for name, path in named)
            return
        waiting: deque[tuple[str, Any]] = deque()
        with ThreadPoolExecutor(_AHEAD) as pool:
            for name, path in named:
                waiting.append((name, pool.submit(self._read, name, path)))
                if len(waiting) == _AHEAD:
                    first, future = waiting.popleft()
                    yield first, first, future.result()
            yield from ((first, first, future.result()) for first, future in waiting)

    def _read(self, name: str, path: str) -> io.BytesIO | PhotoError:
        try:
            with self.place.store.open_input_stream(path) as stream:
                return _open(name, stream.read())
        except OSError as error:
            return PhotoError(f"{name} cannot be read ({one_line(error)}).")


@dataclass(frozen=True)
class Rows:
    """A part of a row group of a Parquet file whose rows are photos."""

    place: Place
    path: str
    group: int
    start: int
    stop: int
    deaths: int = 0

    def __len__(self) -> int:
        return self.stop - self.start

    def halves(self) -> tuple["Rows", "Rows"]:
        """Returns two parts that together are this one."""
        middle = (self.start + self.stop) // 2
        return dataclasses.replace(self, stop=middle), dataclasses.replace(self, start=middle)

    def places(self) -> list[str]:
        """Returns where the photos are, in their order."""
        where = f"{self.place.name(self.path)}#{self.group}"
        return [f"{where}.{row}" for row in range(self.start, self.stop)]

    def photos(self, skip: Skip) -> Iterator[Placed]:
        """Yields the photos, less those to skip; a nameless one is named by its place.

        Where the file cannot be read any further, so it says of every photo that is left.
        """
        left = deque(self.places())
        try:
            with self.place.store.open_input_file(self.path) as stream:
                file = pq.ParquetFile(stream, buffer_size=1 << 20)  # else a column at once
                columns = photo_columns(file.schema_arrow)
                for content, name in self._read(file, columns):
                    place = left.popleft()
                    if not skip(place):
                        name = str(name) if name else place
                        yield place, name, _open(name, content or b"")
            if left:
                raise OSError("it has fewer rows than it had")
        except (OSError, pa.ArrowException, ConfigError) as error:
            said = f"{self.place.name(self.path)} cannot be read ({one_line(error)})."
            yield from ((place, place, PhotoError(said)) for place in left if not skip(place))

    def _read(
        self, file: pq.ParquetFile, columns: tuple[str, ...]
    ) -> Iterator[tuple[bytes | None, str | None]]:
        row = 0
        for batch in file.iter_batches(_ROWS, row_groups=[self.group], columns=list(columns)):
            first, row = row, row + len(batch)
            if row <= self.start:
                continue
            if first >= self.stop:
                return
            low, high = max(self.start - first, 0), min(self.stop - first, len(batch))
            table = pa.Table.from_batches([batch.slice(low, high - low)]).flatten()
            contents = table[columns[0]].to_pylist()
            names = table[columns[1]].to_pylist() if columns[1:] else [None] * len(contents)
            yield from zip(contents, names, strict=True)


Part = Files | Rows
"""Photos that one worker answers in one go."""


def find_parts(place: Place, on_progress: Progress = silent) -> list[Part]:
    """Divides a folder of photos, a Parquet file, or a folder of Parquet files into parts.

    Raises:
        DataError: There is nothing of the kind.
        ConfigError: It is not clear what is to be answered.
    """
    paths = [path for path in place.files() if is_visible_path(path.removeprefix(place.root))]
    photos = [path for path in paths if is_picture_name(path.rpartition("/")[2])]
    tables = [path for path in paths if path.lower().endswith(".parquet")]
    if photos and tables:
        raise ConfigError(f"{place.address} holds photos and Parquet files; name one kind alone.")
    if (not photos and not tables) or photos == [place.root]:
        raise DataError(
            f"There are no photos in {place.address}; name a folder of photos, or of Parquet files."
        )
    if photos:
        size = _size(len(photos))
        starts = range(0, len(photos), size)
        return [Files(place, tuple(photos[start : start + size])) for start in starts]

    def groups(number: int) -> list[int] | None:
        try:
            with place.store.open_input_file(tables[number]) as stream:
                file = pq.ParquetFile(stream)
                if number == 0:
                    photo_columns(file.schema_arrow)
                return [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        except (OSError, pa.ArrowException):
            return None

    counts = parallel(groups, range(len(tables)), on_progress, "Looking at the Parquet files")
    size = _size(sum(sum(of_file) for of_file in counts if of_file is not None))
    parts: list[Part] = []
    for path, of_file in zip(tables, counts, strict=True):
        if of_file is None:  # to be said as of a photo that is none
            parts.append(Files(place, (path,)))
            continue
        parts += [
            Rows(place, path, group, start, min(start + size, count))
            for group, count in enumerate(of_file)
            for start in range(0, count, size)
        ]
    return parts


def _size(photos: int) -> int:
    """Photos in a part: few where there are few, so that every core has some."""
    return min(_LARGEST, max(_SMALLEST, photos // 64))


def photo_columns(schema: pa.Schema) -> tuple[str, ...]:
    """Returns the column of the photos' bytes and, where there is one, that of their names.

    Columns of a struct count, so that `image.bytes` and `image.path` of `datasets` are found.

    Raises:
        ConfigError: No column, or more than one, holds bytes.
    """
    table = schema.empty_table().flatten()
    of_bytes = [f.name for f in table.schema if _is_one_of(f.type, "binary")]
    texts = [f.name for f in table.schema if _is_one_of(f.type, "string")]
    if len(of_bytes) != 1:
        found = ", ".join(of_bytes) or "none"
        raise ConfigError(
            f"One column must hold the photos' bytes, and here it is {found} of "
            f"{', '.join(table.column_names)}."
        )
    named = [text for name in _NAMES for text in texts if text.rpartition(".")[2].lower() == name]
    return (*of_bytes, *named[:1])


def _is_one_of(kind: pa.DataType, name: str) -> bool:
    """Whether a type is `binary` or `string`, in any of their sizes."""
    return str(kind) in {name, f"large_{name}", f"{name}_view"}


def _open(name: str, content: bytes) -> io.BytesIO:
    """Bytes that know their name, which a message about them says."""
    opened = io.BytesIO(content)
    opened.name = name
    return opened
