"""A finished run's model card: what a person must know before using the model, in Markdown."""

from typing import Any

from trashnet.config import FROM_SCRATCH, TrainConfig, option
from trashnet.data.dataset import trashnet_facts
from trashnet.files import read_json
from trashnet.runs.run import Run

_NETWORKS = {
    "cnn_baseline": "A small convolutional network, trained from scratch",
    "cnn": "A convolutional network of ten layers, trained from scratch",
    "frozen_features": "A linear head on the frozen features of EfficientNet-Lite0, fitted",
    "efficientnet_lite0": "EfficientNet-Lite0, fine-tuned",
    "efficientnetv2_b0": "EfficientNetV2-B0, fine-tuned",
}

_PRETRAINED = (
    "The network starts from ImageNet weights (Apache-2.0; see `trashnet/assets/README.md`);\n"
    "nothing else was used."
)


def train_command(run: Run) -> str:
    """Returns the command that trains such a run: its recipe, and what differs from it."""
    return command_for(run.train_config, run.is_sample)


def command_for(config: TrainConfig, samples: bool = False) -> str:
    """Returns the command that trains a configuration, on the drawn pictures if `samples`."""
    recipe = config.recipe(config.model).to_dict()
    words = ["python -m trashnet train", *["--samples"] * samples, f"--model {config.model}"]
    for name, value in config.to_dict().items():
        if value != recipe[name] and name != "tracking":
            words.append(option(name, value))
    return " ".join(words)


def model_card(run: Run, title: str, about: str, made_by: list[str], more: str = "") -> str:
    """Returns the card.

    Args:
        run: A finished run.
        title: The card's heading.
        about: What the model is used for, in a sentence or two.
        made_by: Commands that make the model, in order.
        more: Markdown between the figures and the data, such as a picture and a snippet.
    """
    commands = "\n".join(f"    {command}" for command in made_by)
    sections = [
        f"# {title}\n\n{_opening(run)}\n{about}",
        f"Made by\n\n{commands}",
        f"## How good it is\n\n{_figures(run)}",
        more.strip(),
        f"## What it was trained on\n\n{_data(run)}",
        f"## What it does not know\n\n{_limits(run)}",
        _licence(run),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def headline(run: Run) -> dict[str, dict[str, Any]]:
    """Returns the reports a card states, by what to call them: test, and out of fold if there."""
    evaluation = run.evaluation()
    shown = {"test": evaluation["splits"]["test"]}
    if "out_of_fold" in evaluation:
        shown["out of fold"] = evaluation["out_of_fold"]
    return shown


def _opening(run: Run) -> str:
    return (
        f"{_NETWORKS[run.train_config.model]} on {_data_name(run)}: a photo of one piece of waste "
        f"in, one of\n{len(run.classes)} classes out ({', '.join(run.classes)})."
    )


def is_of_trashnet(run: Run) -> bool:
    """Whether a run knows TrashNet's photos, so that what is known of them may be said."""
    data = run.config["data"]
    named = data["name"] == "trashnet" and data["source"] != "samples"
    return named and data["photos"] == len(trashnet_facts())


def _licence(run: Run) -> str:
    if is_of_trashnet(run) or run.is_sample:
        return "MIT licence, as the rest of the project."
    return (
        "The program that trained it is under the MIT licence. What may be done with the model "
        "also depends on\nits photos, whose licence is not known here."
    )


def _data_name(run: Run) -> str:
    if is_of_trashnet(run):
        return "TrashNet"
    return "drawn sample pictures" if run.is_sample else run.config["data"]["name"]


def _figures(run: Run) -> str:
    shown = headline(run)
    rows = "\n".join(
        f"| {name} | {r['n']:,} | {percent(r['accuracy'])} "
        f"({_interval(r['accuracy_interval'])}) | {r['macro_f1']:.3f} | {r['ece']:.3f} "
        f"| {percent(r['coverage'])} | {_right(r)} |"
        for name, r in shown.items()
    )
    name, best = list(shown.items())[-1]
    per_class = "\n".join(
        f"| {label} | {s['precision']:.3f} | {s['recall']:.3f} | {s['f1']:.3f} | {s['support']} |"
        for label, s in best["per_class"].items()
    )
    whole = (
        " *Out of fold* is the recipe's figure:\neach photo answered by one of five models, none "
        "of which saw its object."
        if len(shown) > 1
        else ""
    )
    by_authors = run.train_config.split == "authors"
    tested = "the authors' own list" if by_authors else "a fifth of the photos"
    return f"""\
| photos | n | accuracy (95 % interval) | macro F1 | calibration error | answered | right of these |
|---|---|---|---|---|---|---|
{rows}

*Test* is {tested}, which nothing was chosen by.{whole} *Answered* are the photos
on which the model is sure.

| class, {name} | precision | recall | F1 | photos |
|---|---|---|---|---|
{per_class}{_robustness(run)}"""


def percent(share: float) -> str:
    """Writes a share for people."""
    return f"{share:.1%}".replace("%", " %")


def _interval(edges: list[float]) -> str:
    return f"{100 * edges[0]:.1f}–{100 * edges[1]:.1f}"


def _right(report: dict[str, Any]) -> str:
    right = report["answered_accuracy"]
    return "–" if right is None else percent(right)


def _robustness(run: Run) -> str:
    found = read_json(run.path / "robustness.json")
    if not isinstance(found, dict):
        return ""
    return (
        f"\n\nOn {found['split']} photos that were turned, cropped, blurred, relit, compressed or "
        f"put before another\nbackground, accuracy falls from "
        f"{percent(found['plain']['accuracy'])} to {percent(found['mean_transformed'])} on\n"
        "average (`robustness.json` lists each change)."
    )


def _data(run: Run) -> str:
    config, splits = run.train_config, run.evaluation()["splits"]
    counts = ", ".join(f"{name} {report['n']:,}" for name, report in splits.items())
    left_out = " Six photos filed under two labels were left out." * config.exclude_conflicts
    kept = {
        "object": "Photos of the same object are\nkept on one side",
        "random": "They were divided at random, which scatters photos\nof one object",
        "authors": "They were divided by the authors' own lists",
    }[config.split]
    name, n = run.config["data"]["name"], run.config["data"]["photos"]
    if is_of_trashnet(run):
        about = (
            "TrashNet (Gary Thung and Mindy Yang, 2016, MIT licence): 2,527 photos of one object "
            f"each on a plain,\nlight background.{left_out}"
        )
    elif run.is_sample:
        about = f"{n:,} pictures that a program drew: no figure here says anything about waste."
    else:
        about = f"{name}: {n:,} photos of its publisher's own."
    weights = "" if config.model in FROM_SCRATCH else f"\n{_PRETRAINED}"
    epochs = f" {config.epochs} epochs." if config.epochs else ""
    return f"{about} {kept}: {counts}.{weights}{epochs}"


def _limits(run: Run) -> str:
    report = list(headline(run).values())[-1]
    rarest, scores = min(report["per_class"].items(), key=lambda pair: pair[1]["support"])
    if is_of_trashnet(run):
        kind, labels = "One kind of photo.** One object, plain background, good light.", True
    elif run.is_sample:
        kind, labels = "Drawings.** It has not seen one photo.", False
    else:
        kind, labels = "One collection of photos.** Others differ in camera, light and place.", True
    arguable = "\n- **Labels are people's.** Some are arguable, a few are wrong." * labels
    return f"""\
- **{kind} On other photos it is less often
  right than these figures say, and says "not sure" more often.
- **{len(run.classes)} classes.** What is none of them should come out as "not sure" or "unlike \
anything in
  training", and not always does.
- **{rarest.capitalize()} is rare** ({scores["support"]} photos), so its figures are the least \
certain.{arguable}"""
