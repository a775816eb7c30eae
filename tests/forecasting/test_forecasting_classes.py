import polars as pl
import pytest
from made_series import weekly

from forecasting.classes import ClassLimits, abc_classes, demand_classes


def class_of(values: list[float]) -> dict[str, object]:
    return demand_classes(weekly({"a": list(values)})).row(0, named=True)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10.0, 11.0, 9.0, 10.0], "smooth"),
        ([1.0, 40.0, 2.0, 3.0, 1.0, 2.0], "erratic"),
        ([5.0, 0.0, 5.0, 0.0, 6.0, 0.0], "intermittent"),
        ([1.0, 0.0, 40.0, 0.0, 2.0, 0.0], "lumpy"),
        ([0.0, 5.0, 0.0], "insufficient"),
        ([0.0, 0.0], "insufficient"),
    ],
)
def test_the_four_patterns_and_too_little_demand(values: list[float], expected: str):
    assert class_of(values)["demand_class"] == expected


def test_adi_and_cv2_by_hand_from_the_first_demand_on():
    row = class_of([0.0, 0.0, 2.0, 0.0, 4.0, 0.0, 0.0])
    assert row["adi"] == pytest.approx(5 / 2)  # five weeks from the first demand, two demands
    assert row["cv2"] == pytest.approx(2.0 / 9.0)  # sample variance 2, mean 3
    assert row["weeks"] == 5


def test_the_interval_cut_off_belongs_to_the_sparse_side():
    # 33 weeks with 25 demands: ADI is exactly 1.32
    at_limit = [5.0] * 24 + [0.0] * 8 + [5.0]
    assert class_of(at_limit)["demand_class"] == "intermittent"
    assert class_of([*at_limit[:-2], 5.0])["demand_class"] == "smooth"


@pytest.mark.parametrize(
    ("values", "xyz"), [([10.0, 11.0, 9.0], "X"), ([10.0, 1.0, 9.0], "Y"), ([10.0, 0.0, 0.0, 0.0], "Z"), ([4.0], "Z")]
)
def test_xyz_by_the_variation_of_all_weeks(values: list[float], xyz: str):
    assert class_of(values)["xyz"] == xyz


def test_abc_by_cumulative_revenue():
    revenue = pl.DataFrame({"item": list("abcdef"), "revenue": [700.0, 150.0, 100.0, 40.0, 10.0, None]})
    assert abc_classes(revenue)["abc"].to_list() == ["A", "A", "B", "C", "C", "C"]


def test_abc_survives_bad_revenue():
    revenue = pl.DataFrame({"item": list("abc"), "revenue": [float("nan"), -5.0, float("inf")]})
    assert abc_classes(revenue)["abc"].to_list() == ["C", "C", "C"]
    alone = pl.DataFrame({"item": ["a"], "revenue": [1.0]})
    assert abc_classes(alone)["abc"].to_list() == ["A"]


def test_classes_end_where_the_plant_says():
    revenue = pl.DataFrame({"item": list("abcd"), "revenue": [40.0, 30.0, 20.0, 10.0]})
    assert abc_classes(revenue, ClassLimits(a_share=0.4, b_share=0.6))["abc"].to_list() == ["A", "B", "C", "C"]
    series = weekly({"a": [8.0, 10.0, 12.0, 10.0]})
    variations = [ClassLimits(x_variation=x, y_variation=y) for x, y in ((0.5, 1.0), (0.1, 0.5), (0.05, 0.1))]
    assert [demand_classes(series, limits)["xyz"][0] for limits in variations] == ["X", "Y", "Z"]
