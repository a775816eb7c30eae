from datetime import timedelta

import polars as pl
import pytest
from made_series import START

from forecasting.choice import candidates, choose, choose_without_own_cutoff, item_candidates


def errors(rows: list[tuple[str, int, float]]) -> pl.DataFrame:
    """Rows (model, cutoff number, error level) of one item; pinball and root of squared error move together."""
    return pl.DataFrame(
        {
            "item": ["a"] * len(rows),
            "cutoff": [START + timedelta(weeks=cutoff) for _, cutoff, _ in rows],
            "model": [model for model, _, _ in rows],
            "pinball": [level for _, _, level in rows],
            "sq_error": [level**2 for _, _, level in rows],
        },
        schema={
            "item": pl.String,
            "cutoff": pl.Date,
            "model": pl.String,
            "pinball": pl.Float64,
            "sq_error": pl.Float64,
        },
    )


OPTIONS = item_candidates(
    pl.DataFrame({"item": ["a"], "demand_class": ["intermittent"], "weeks": [80]}), seasonal=True, chronos=None
)


@pytest.mark.parametrize(
    ("demand_class", "weeks", "expected"),
    [
        ("insufficient", 300, ("historic_average",)),
        ("smooth", 39, ("ses", "historic_average")),
        ("lumpy", 39, ("ses", "historic_average")),
        ("intermittent", 40, ("tsb", "croston_sba", "imapa")),
        ("lumpy", 40, ("tsb", "historic_average")),
        ("smooth", 60, ("auto_ets", "theta", "ensemble", "seasonal_theta")),
        ("erratic", 104, ("seasonal_theta", "auto_ets", "theta", "ensemble")),
    ],
)
def test_candidates_by_class_and_history(demand_class: str, weeks: int, expected: tuple[str, ...]):
    assert candidates(demand_class, weeks, seasonal=True, chronos=None) == expected


def test_a_learned_model_comes_first_where_demand_is_frequent():
    assert candidates("smooth", 60, seasonal=False, chronos="chronos_2")[0] == "chronos_2"
    assert "chronos_2" not in candidates("lumpy", 60, seasonal=False, chronos="chronos_2")


@pytest.mark.parametrize(
    ("levels", "model"),
    [
        ({"tsb": 1.0, "imapa": 0.95, "croston_sba": 1.2, "moving_average": 1.0, "seasonal_naive": 2.0}, "tsb"),
        ({"tsb": 1.0, "imapa": 0.80, "croston_sba": 1.2, "moving_average": 1.0, "seasonal_naive": 2.0}, "imapa"),
        (
            {"tsb": 1.5, "imapa": 1.4, "croston_sba": 1.6, "moving_average": 1.0, "seasonal_naive": 2.0},
            "moving_average",
        ),
        (
            {"tsb": 1.5, "imapa": 1.4, "croston_sba": 1.6, "moving_average": 1.0, "seasonal_naive": 0.5},
            "seasonal_naive",
        ),
        ({"tsb": 0.0, "imapa": 0.0, "croston_sba": 0.0, "moving_average": 0.0, "seasonal_naive": 0.0}, "tsb"),
    ],
)
def test_only_a_clear_win_unseats_the_default(levels: dict[str, float], model: str):
    rows = [(name, cutoff, level) for name, level in levels.items() for cutoff in range(3)]
    chosen = choose(errors(rows), OPTIONS).row(0, named=True)
    assert chosen["model"] == model
    assert "3 backtests" in chosen["reason"]


def test_a_model_that_missed_a_cutoff_does_not_compete():
    rows = [(name, cutoff, 1.0) for name in ("tsb", "moving_average", "seasonal_naive") for cutoff in range(3)]
    assert choose(errors([*rows, ("imapa", 0, 0.01)]), OPTIONS)["model"].to_list() == ["tsb"]


def test_without_a_backtest_the_default_of_the_class_stands_and_says_so():
    row = choose(errors([]), OPTIONS).row(0, named=True)
    assert row == {"item": "a", "model": "tsb", "reason": "default of its class: no backtest"}


def test_the_score_of_the_choice_never_uses_the_window_it_is_scored_on():
    levels = {"tsb": [1.0, 1.0, 9.0], "imapa": [5.0, 5.0, 0.1], "moving_average": [4.0] * 3}
    rows = [(name, cutoff, level) for name, values in levels.items() for cutoff, level in enumerate(values)]
    got = choose_without_own_cutoff(errors(rows), OPTIONS).sort("cutoff")["model"].to_list()
    assert got[2] == "tsb"  # the other two windows know nothing of imapa's luck
