import pytest

from forecasting.chronos_model import ChronosForecaster, build_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory):
    return build_tiny_checkpoint(tmp_path_factory.mktemp("chronos"), seed=1)


@pytest.fixture(scope="session")
def tiny_chronos(tiny_checkpoint) -> ChronosForecaster:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        return ChronosForecaster(tiny_checkpoint)
