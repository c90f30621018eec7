"""A run's model as MediaPipe's image classifier task takes it, on Android, iOS and the web."""

import io
import zipfile
from typing import Any

import flatbuffers

_LABELS = "labels.txt"

_IDENTIFIER = b"M001"
"""Of the metadata's format, in tflite-support's and MediaPipe's `metadata_schema.fbs`."""

_RGB, _IMAGE_PROPERTIES, _NORMALIZATION, _AXIS_LABELS = 1, 2, 1, 2
"""Values of that schema's enumerations."""


def to_mediapipe(model: bytes, classes: tuple[str, ...], temperature: float) -> bytes:
    """Gives a LiteRT model one output, calibrated probabilities, and says what goes in and out.

    Args:
        model: With two outputs: logits `(1, classes)` and a feature map of four dimensions.
        classes: Their names, in the order of the logits.
        temperature: What the logits are divided by.

    Returns:
        The file, which is a zip of `labels.txt`, too: that is where MediaPipe looks for names.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = schema.ModelT.InitFromPackedBuf(model, 0)
    (graph,) = content.subgraphs
    (logits,) = (i for i in graph.outputs if len(graph.tensors[i].shape) == 2)

    probabilities = schema.TensorT()
    probabilities.name, probabilities.shape = b"probabilities", graph.tensors[logits].shape
    probabilities.type = schema.TensorType.FLOAT32
    graph.tensors.append(probabilities)

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SOFTMAX
    code.version = 1
    content.operatorCodes.append(code)

    softmax = schema.OperatorT()
    softmax.opcodeIndex = len(content.operatorCodes) - 1
    softmax.inputs, softmax.outputs = [logits], [len(graph.tensors) - 1]
    softmax.builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions
    softmax.builtinOptions = schema.SoftmaxOptionsT()
    softmax.builtinOptions.beta = 1 / temperature  # it divides by the temperature, too
    graph.operators.append(softmax)
    graph.outputs = softmax.outputs
    content.signatureDefs = None  # they name both outputs

    buffer = schema.BufferT()
    buffer.data = _metadata()
    content.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", len(content.buffers) - 1
    content.metadata = [*(content.metadata or []), entry]

    builder = flatbuffers.Builder(len(model))
    builder.Finish(content.Pack(builder), b"TFL3")
    file = io.BytesIO(bytes(builder.Output()))
    with zipfile.ZipFile(file, "a") as labels:  # behind the model, which is read from the front
        labels.writestr(zipfile.ZipInfo(_LABELS), "\n".join(classes) + "\n")
    return file.getvalue()


def _metadata() -> bytes:
    """Says that photos are RGB and go in as they are, and where the names of the classes are."""
    builder = flatbuffers.Builder()

    def text(value: str) -> Any:
        return builder.CreateString(value)

    def vector(values: list[Any]) -> Any:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependUOffsetTRelative(value)
        return builder.EndVector()

    def table(size: int, offsets: dict[int, Any], numbers: dict[int, int] | None = None) -> Any:
        builder.StartObject(size)
        for slot, value in offsets.items():
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        for slot, number in (numbers or {}).items():
            builder.PrependUint8Slot(slot, number, 0)
        return builder.EndObject()

    def floats(value: float) -> Any:
        builder.StartVector(4, 1, 4)
        builder.PrependFloat32(value)
        return builder.EndVector()

    image = table(2, {}, {0: _RGB})
    content = table(3, {1: image}, {0: _IMAGE_PROPERTIES})
    normalization = table(2, {0: floats(0), 1: floats(1)})  # the model scales pixels itself
    unit = table(2, {1: normalization}, {0: _NORMALIZATION})
    limits = table(2, {0: floats(255), 1: floats(0)})
    photo = table(
        7,
        {
            0: text("photo"),
            1: text("RGB, upright, squashed to the square, 0 to 255"),
            3: content,
            4: vector([unit]),
            5: limits,
        },
    )
    labels = table(5, {0: text(_LABELS)}, {2: _AXIS_LABELS})
    answer = table(
        7,
        {
            0: text("probability"),
            1: text("Calibrated probabilities of the classes"),
            6: vector([labels]),
        },
    )
    graph = table(10, {2: vector([photo]), 3: vector([answer])})
    model = table(
        8,
        {
            0: text("TrashNet Explorer"),
            1: text("Says what kind of waste a photo shows"),
            3: vector([graph]),
            7: text("1.0.0"),
        },
    )
    builder.Finish(model, _IDENTIFIER)
    return bytes(builder.Output())
