from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from made_series import BAD_SERIES, plant, weekly

from forecasting.metrics import METRIC_COLUMNS
from forecasting.run import FORECAST_COLUMNS, SERIES_COLUMNS, classify, combine, forecast, forecast_chunk

RETAIL = Path(__file__).parents[3] / "shared" / "data" / "online_retail_weekly.parquet"


@pytest.fixture(scope="module")
def series() -> pl.DataFrame:
    return pl.concat([plant(items=10), weekly(BAD_SERIES)])


@pytest.fixture(scope="module")
def arguments(series: pl.DataFrame) -> dict[str, pl.DataFrame]:
    items = series["item"].unique().sort()
    return {
        "lead_times": pl.DataFrame({"item": items, "lead_time_weeks": [2.5] * len(items)}),
        "revenue": pl.DataFrame({"item": items, "revenue": [float(2**number) for number in range(len(items))]}),
    }


@pytest.fixture(scope="module")
def result(series: pl.DataFrame, arguments: dict[str, pl.DataFrame]):
    return forecast(series, horizon=6, **arguments)


def test_every_item_has_a_whole_forecast_and_one_row_that_says_how_it_was_made(result, series: pl.DataFrame):
    items = sorted(series["item"].unique())
    assert result.forecast.columns == list(FORECAST_COLUMNS)
    assert result.series.columns == list(SERIES_COLUMNS)
    assert result.metrics.columns == list(METRIC_COLUMNS)
    assert result.series["item"].to_list() == items
    assert result.forecast.height == 6 * len(items)
    assert result.forecast.null_count().sum_horizontal()[0] == 0
    assert (result.series["reason"].str.len_chars() > 0).all()
    assert result.series.drop("adi", "cv2").null_count().sum_horizontal()[0] == 0
    first = result.forecast.group_by("item").agg(pl.col("week").min())
    last = series.group_by("item").agg(pl.col("week").max())
    assert (first.join(last, on="item")["week"] - first.join(last, on="item")["week_right"] == timedelta(weeks=1)).all()


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("all_zero", "no demand in"),
        ("one_demand", "one demand in 21 weeks"),
        ("with_nan", "15 weeks without a finite number"),
        ("with_null", "15 weeks without a finite number"),
        ("infinite", "30 weeks without a finite number"),
        ("negative", "15 negative weeks taken as 0"),
        ("one_point", "no backtest"),
    ],
)
def test_bad_series_say_what_was_wrong(result, item: str, words: str):
    assert words in result.series.filter(item=item)["reason"][0]


def test_service_level_follows_the_revenue_class(result):
    levels = dict(result.series.select("abc", "service_level").unique().iter_rows())
    assert levels == {"A": 0.97, "B": 0.93, "C": 0.85}
    assert (result.series["lead_time_weeks"] == 2.5).all()


def test_metrics_hold_the_choice_and_both_baselines_for_the_same_series(result):
    overall = result.metrics.filter(demand_class="all")
    assert {"chosen", "seasonal_naive", "moving_average"} <= set(overall["model"])
    compared = overall.filter(pl.col("model").is_in(["chosen", "seasonal_naive", "moving_average"]))
    assert compared["series"].n_unique() == 1


def test_chunks_in_any_order_make_the_same_result_as_the_whole(
    result, series: pl.DataFrame, arguments: dict[str, pl.DataFrame]
):
    classification = classify(series, arguments["revenue"], horizon=6)
    items = series["item"].unique().sort()
    parts = [items.gather_every(3, offset) for offset in (2, 0, 1)]
    chunks = [
        forecast_chunk(
            series.filter(pl.col("item").is_in(part.to_list())),
            classification.part(part.to_list()),
            horizon=6,
            lead_times=arguments["lead_times"],
        )
        for part in parts
    ]
    together = combine(chunks)
    assert together.forecast.equals(result.forecast)
    assert together.series.equals(result.series)
    assert together.errors.equals(result.errors)
    columns = ["wql", "rmsse", "mase", "wape", "bias", "coverage_80"]
    for column in columns:  # sums in another order differ in the last bit
        ratio = together.metrics[column] - result.metrics[column]
        assert ratio.drop_nulls().abs().max() < 1e-9
    assert together.metrics.select("model", "demand_class", "series").equals(
        result.metrics.select("model", "demand_class", "series")
    )


class Broken:
    name = "chronos_2"

    def forecast(self, series, horizon, quantiles=()):
        raise RuntimeError("device lost")


def test_a_failed_model_falls_back_under_the_fallbacks_name(monkeypatch: pytest.MonkeyPatch):
    result = forecast(plant(items=2), horizon=4, chronos=Broken(), with_backtest=False)
    assert set(result.series["model"]) == {"moving_average"}
    assert result.series["reason"].str.contains("device lost").all()
    assert result.forecast.height == 8
    assert result.metrics.is_empty()


def test_a_model_that_fails_its_backtest_is_not_chosen():
    result = forecast(plant(items=2), horizon=4, chronos=Broken())
    assert "chronos_2" not in set(result.series["model"])


def test_no_series_no_forecast_no_error():
    empty = forecast(weekly({}))
    assert empty.forecast.is_empty()
    assert empty.series.columns == list(SERIES_COLUMNS)
    assert empty.metrics.is_empty()


def test_unclassified_items_are_refused_by_name():
    with pytest.raises(ValueError, match="I001"):
        forecast_chunk(plant(items=2), classify(plant(items=1)))


def test_the_input_is_not_changed(series: pl.DataFrame):
    before = series.clone()
    forecast(series, horizon=2, with_backtest=False)
    assert series.equals(before, null_equal=True)


@pytest.mark.skipif(not RETAIL.exists(), reason="needs ../shared/data/online_retail_weekly.parquet")
def test_real_retail_demand_is_forecast_better_than_seasonal_naive():
    sales = pl.read_parquet(RETAIL, columns=["sku", "week", "quantity"]).rename({"sku": "item"})
    long = sales.group_by("item").len().filter(pl.col("len") >= 52)["item"].sort().gather_every(20)
    result = forecast(sales.filter(pl.col("item").is_in(long.head(60).to_list())))
    overall = {row["model"]: row for row in result.metrics.filter(demand_class="all").iter_rows(named=True)}
    assert overall["chosen"]["series"] == 60
    for measure in ("wql", "rmsse"):
        assert overall["chosen"][measure] < overall["seasonal_naive"][measure]
    assert 0.7 < overall["chosen"]["coverage_80"] < 0.95
