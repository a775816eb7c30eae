import subprocess
import sys

import numpy as np
import pytest
from made_series import plant

from forecasting.chronos_model import ChronosForecaster, build_tiny_checkpoint
from forecasting.intervals import QUANTILES, quantile_moments
from forecasting.run import forecast


def test_importing_the_room_does_not_import_torch():
    code = "import sys, forecasting.run, forecasting.chronos_model; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_same_seed_gives_the_same_model(tiny_checkpoint, tiny_chronos: ChronosForecaster, tmp_path):
    series = plant(items=2)
    again = ChronosForecaster(build_tiny_checkpoint(tmp_path, seed=1)).forecast(series, 4)
    assert again.equals(tiny_chronos.forecast(series, 4))
    other = ChronosForecaster(build_tiny_checkpoint(tmp_path / "other", seed=2)).forecast(series, 4)
    assert not other.equals(again)


def test_batches_do_not_change_the_forecast(tiny_checkpoint, tiny_chronos: ChronosForecaster):
    series = plant(items=5)
    small = ChronosForecaster(tiny_checkpoint, batch_size=2).forecast(series, 13)
    whole = tiny_chronos.forecast(series, 13)
    assert np.allclose(small["mean"], whole["mean"], rtol=1e-4)


def test_levels_between_the_models_own_are_interpolated_and_those_outside_refused(tiny_chronos: ChronosForecaster):
    frame = tiny_chronos.forecast(plant(items=1), 3, (0.2, 0.25, 0.3))
    middle = (frame["q20"] + frame["q30"]) / 2
    assert np.allclose(frame["q25"], middle)
    with pytest.raises(ValueError, match=r"0\.97"):
        tiny_chronos.forecast(plant(items=1), 3, (0.5, 0.97))


def test_the_mean_is_the_integral_of_the_quantile_function():
    levels = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))
    uniform = np.array(levels) * 10
    mean, variance = quantile_moments(uniform, levels)
    # the outer segments are twice as steep: 0 below, 11 above
    assert mean == pytest.approx(5.05)
    assert variance == pytest.approx(100 / 12, rel=0.06)
    skewed, _ = quantile_moments(np.array([0, 0, 0, 0, 0, 0, 1, 4, 20.0]), levels)
    assert skewed > 2.0
    assert quantile_moments(np.zeros((2, 5)))[0].tolist() == [0.0, 0.0]


def test_a_missing_checkpoint_is_an_error_that_names_it(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError, match="nothing_here"):
        ChronosForecaster(tmp_path / "nothing_here")


def test_chronos_competes_for_smooth_and_erratic_items_only(tiny_chronos: ChronosForecaster):
    result = forecast(plant(items=4), horizon=4, chronos=tiny_chronos)
    scored = result.errors.filter(model="chronos_2").join(result.series, on="item")
    assert set(scored["demand_class"]) <= {"smooth", "erratic"}
    assert scored.height > 0
    assert QUANTILES == (0.1, 0.25, 0.5, 0.75, 0.9)
