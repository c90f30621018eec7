"""What `config.json` and `evaluation.json` of a run hold; checked once, where they are read."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Content(BaseModel):
    """A JSON object with fields of just these types; what a later version adds does no harm."""

    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, serialize_by_alias=True
    )


class Data(Content):
    """The photos a run was trained on.

    Attributes:
        name: Of the data set.
        source: Where it came from: `package`, `folder`, `zip`, `cache` or `hub`.
        root: Its folder on this machine, empty for a run from elsewhere.
        photos: How many there were.
    """

    name: str
    source: str
    root: str
    photos: int = Field(ge=0)


class RunConfig(Content):
    """The content of `config.json`; `TrainConfig` checks the settings.

    Attributes:
        version: Of this layout.
        created: When the run was made (ISO 8601, UTC).
        train_config: Every setting.
        classes: In the order of the logits.
        data: What it was trained on.
        review: The decisions it was trained under.
        versions: Of Python and packages.
        precision: What layers compute in; None before the run starts, if it is to find out.
    """

    version: int = Field(0, alias="schema")
    created: str
    train_config: dict[str, Any]
    classes: list[str]
    data: Data
    review: list[dict[str, Any]] = []
    versions: dict[str, str | None] = {}
    precision: str | None = None


class ClassScores(Content):
    """A class's precision, recall and F1, and how many photos it has."""

    precision: float
    recall: float
    f1: float
    support: int


class Report(Content):
    """A split's figures, as `trashnet.evaluation.report.report` makes them."""

    n: int
    accuracy: float
    accuracy_interval: list[float] = Field(min_length=2, max_length=2)
    macro_f1: float
    macro_f1_classes: int | None = None
    nll: float
    ece: float
    temperature: float
    threshold: float
    coverage: float
    answered_accuracy: float | None
    per_class: dict[str, ClassScores]
    confusion_matrix: list[list[int]]


class Evaluation(Content):
    """The content of `evaluation.json`, as `trashnet.evaluation.report.evaluate` makes it.

    Attributes:
        temperature: Divides the logits.
        threshold: Confidence below which the answer is "not sure".
        distance_limit: Distance to training from which a photo counts as unlike it.
        familiar_share: Share of the validation photos below it; older versions do not say theirs.
        splits: The report of each split.
        out_of_fold: The report of all photos, where every fold was trained.
        unreviewed: The reports without the review's decisions, where there were any.
    """

    temperature: float = Field(gt=0)
    threshold: float
    distance_limit: float | None = None
    familiar_share: float | None = None
    splits: dict[str, Report]
    out_of_fold: Report | None = None
    unreviewed: dict[str, Report] | None = None
