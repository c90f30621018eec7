"""The model as MediaPipe's image classifier task reads it: one output, names, and how photos go in.

What is looked at is what the task looks at; the task itself is not among the tests' packages.
"""

import zipfile
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table

from tests.pictures import write_few
from trashnet.data.image_io import load_photo
from trashnet.inference.classifier import Classifier
from trashnet.runs.run import Run
from trashnet.runs.store import RELEASED
from trashnet.training.export_formats import export_run


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mediapipe") / "out"
    export_run(Run(RELEASED), "mediapipe", folder)
    return folder / "model.tflite"


def metadata_of(file: Path) -> Table:
    content = schema.ModelT.InitFromPackedBuf(file.read_bytes(), 0)
    (entry,) = (m for m in content.metadata if m.name == b"TFLITE_METADATA")
    data = bytes(content.buffers[entry.buffer].data)
    assert data[4:8] == b"M001"
    return Table(data, encode.Get(packer.uoffset, data, 0))


def field(table: Table, slot: int) -> int:
    """Where the field of that number is."""
    return table.Pos + table.Offset(4 + 2 * slot)


def table_at(table: Table, slot: int) -> Table:
    return Table(table.Bytes, table.Indirect(field(table, slot)))


def first(table: Table, slot: int) -> Table:
    assert table.VectorLen(field(table, slot) - table.Pos) == 1
    return Table(table.Bytes, table.Indirect(table.Vector(field(table, slot) - table.Pos)))


def number(table: Table, slot: int) -> int:
    return table.Get(number_types.Uint8Flags, field(table, slot))


def floats(table: Table, slot: int) -> Any:
    return table.GetVectorAsNumpy(number_types.Float32Flags, field(table, slot) - table.Pos)


def test_its_metadata_says_how_photos_go_in_and_where_the_names_are(file: Path) -> None:
    graph = first(metadata_of(file), 3)
    photo, answer = first(graph, 2), first(graph, 3)
    assert number(table_at(photo, 3), 0) == 2  # an image
    assert number(table_at(table_at(photo, 3), 1), 0) == 1  # RGB
    unit = first(photo, 4)
    assert number(unit, 0) == 1  # (value - mean) / deviation
    assert floats(table_at(unit, 1), 0) == [0] and floats(table_at(unit, 1), 1) == [1]
    labels = first(answer, 6)
    assert labels.String(field(labels, 0)) == b"labels.txt"
    assert number(labels, 2) == 2  # one line for each value of the output
    with zipfile.ZipFile(file) as names:
        assert tuple(names.read("labels.txt").decode().split()) == Run(RELEASED).classes


def test_its_one_output_is_what_the_app_says(file: Path, tmp_path: Path) -> None:
    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    (photos,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert output["shape"].tolist() == [1, len(Run(RELEASED).classes)]
    write_few(tmp_path)
    ours = Classifier(Run(RELEASED))
    some = sorted(tmp_path.glob("*/*.jpg"))[::7]
    assert len(some) > 5
    for path in some:
        pixels = load_photo(path, ours.model.image_size)
        interpreter.set_tensor(photos["index"], pixels[None].astype(np.float32))
        interpreter.invoke()
        expected = list(ours.classify(path).probabilities.values())
        np.testing.assert_allclose(interpreter.get_tensor(output["index"])[0], expected, atol=1e-4)


def test_it_stays_small(file: Path) -> None:
    assert file.stat().st_size < (RELEASED / "model.tflite").stat().st_size + 10_000
    assert flatbuffers.util.GetBufferIdentifier(file.read_bytes(), 0) == b"TFL3"
