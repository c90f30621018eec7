"""What a training costs is measured once, and again where its file is damaged."""

import pytest

from trashnet.config import TrainConfig
from trashnet.environment import Environment
from trashnet.runs import cost_estimate
from trashnet.runs.cost_estimate import Cost, measured

COST = {"step": 0.5, "photo": 0.01, "memory": 1_000}


@pytest.mark.parametrize("content", ["{}", "[1]", "3", "", "{"])
def test_a_cost_is_measured_once_and_survives_damage(
    env: Environment, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    asked: list[TrainConfig] = []

    def measure(config: TrainConfig, env: Environment) -> dict[str, float]:
        asked.append(config)
        return dict(COST)

    monkeypatch.setattr(cost_estimate, "_measure_in_a_process", measure)
    for _ in range(2):
        assert measured(TrainConfig(), env) == Cost(**COST)
    assert len(asked) == 1
    (env.cache / "costs.json").write_text(content)
    assert measured(TrainConfig(), env) == Cost(**COST)
    assert len(asked) == 2
