"""A finished run's model card: what a person must know before using the model, in Markdown."""

from typing import Any

from trashnet.config import FROM_SCRATCH, TrainConfig, option
from trashnet.data.editions import contents, is_trashnet
from trashnet.evaluation.known_objects import of_known_objects
from trashnet.files import read_json
from trashnet.hub.markdown import render
from trashnet.runs.robustness_file import stored
from trashnet.runs.run import Run

_NETWORKS = {
    "cnn_baseline": "A small convolutional network, trained from scratch",
    "cnn": "A convolutional network of ten layers, trained from scratch",
    "frozen_features": "A linear head on the frozen features of an EfficientNet-Lite, fitted",
    "efficientnet_lite0": "EfficientNet-Lite0, fine-tuned",
    "efficientnet_lite2": "EfficientNet-Lite2, fine-tuned",
    "efficientnetv2_b0": "EfficientNetV2-B0, fine-tuned",
}


ELSEWHERE = "elsewhere.json"
"""In the released run: what `evaluate --photos` found on photos that are not TrashNet's."""

_METRICS = (("accuracy", "accuracy", "accuracy"), ("f1", "macro_f1", "macro F1"))
"""Names of a metric on the Hub, in a report and for people."""


def train_command(run: Run) -> str:
    """Returns the command that trains such a run: its recipe, and what differs from it."""
    return command_for(run.train_config)


def command_for(config: TrainConfig) -> str:
    """Returns the command that trains a configuration."""
    recipe = config.recipe(config.model).to_dict()
    words = ["python -m trashnet train", f"--model {config.model}"]
    for name, value in config.to_dict().items():
        if value != recipe[name] and not name.startswith("track"):
            words.append(option(name, value))
    return " ".join(words)


def model_card(run: Run, title: str, about: str, made_by: list[str], repo: str = "") -> str:
    """Returns the card.

    Args:
        run: A finished run.
        title: The card's heading.
        about: What the model is used for, in a sentence or two.
        made_by: Commands that make the model, in order.
        repo: Where the model is on the Hub, for a card that shows how to load it from there.
    """
    reports = headline(run)
    scores = list(reports.values())[-1]["per_class"]
    return render(
        "model_card",
        run=run,
        title=title,
        about=about,
        made_by=made_by,
        repo=repo,
        reports=reports,
        known={name: of_known_objects(run, name.replace(" ", "_")) for name in reports},
        config=run.train_config,
        data=run.config["data"],
        network=_NETWORKS[run.train_config.model],
        is_of_trashnet=is_of_trashnet(run),
        is_pretrained=run.train_config.model not in FROM_SCRATCH,
        rarest=min(scores, key=lambda label: scores[label]["support"]),
        robustness=stored(run, "validation", run.path),
        elsewhere=read_json(run.path / ELSEWHERE),
    )


def published_card(run: Run, repo: str) -> str:
    """Returns the card of a run on the Hub, with the front matter the Hub reads."""
    robust = ["python -m trashnet robustness RUN"] * (run.path / "robustness.json").exists()
    made_by = [train_command(run), *robust, f"python -m trashnet push RUN --repo {repo}"]
    about = (
        "It is a run of TrashNet Explorer: every file the app shows it with is here, and\n"
        f"`python -m trashnet pull {repo}` downloads it."
    )
    return f"{front_matter(run)}{model_card(run, run.id, about, made_by, repo)}"


def front_matter(run: Run) -> str:
    """What the Hub reads of a card: licence, data and the figures as `model-index`."""
    from huggingface_hub import EvalResult, ModelCardData

    ours, name = is_of_trashnet(run), run.config["data"]["name"]
    figures = [
        EvalResult(
            task_type="image-classification",
            dataset_type="garythung/trashnet" if ours else name,
            dataset_name="TrashNet" if ours else name,
            dataset_split=split,
            metric_type=metric,
            metric_name=shown,
            metric_value=round(report[key], 4),
        )
        for split, report in headline(run).items()
        for metric, key, shown in _METRICS
    ]
    metadata = ModelCardData(
        license="mit" if ours else None,  # else it is for the photos' owner to say
        pipeline_tag="image-classification",
        library_name="litert",
        tags=["waste", "recycling", "litert", "keras"],
        datasets=["garythung/trashnet"] if ours else None,
        metrics=["accuracy", "f1"],
        model_name=run.id,
        eval_results=figures,
    ).to_yaml()
    return f"---\n{metadata}\n---\n"


def headline(run: Run) -> dict[str, dict[str, Any]]:
    """Returns the reports a card states, by what to call them: test, and out of fold if there."""
    evaluation = run.evaluation()
    shown = {"test": evaluation["splits"]["test"]}
    if "out_of_fold" in evaluation:
        shown["out of fold"] = evaluation["out_of_fold"]
    return shown


def is_of_trashnet(run: Run) -> bool:
    """Whether a run's photos are TrashNet's by content, so that what is known of them holds."""
    index = run.index()
    if index is None:  # by an early version, which kept none
        data = run.config["data"]
        return data["name"] == "trashnet" and data["photos"] == len(contents())
    return is_trashnet(index)
