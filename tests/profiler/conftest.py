import pytest

from tests.tiny_models import CONFIGS, write_model


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folders of tiny models, by the names of `tests.tiny_models`."""
    folder = tmp_path_factory.mktemp("models")
    return {name: write_model(folder, name) for name in CONFIGS}


@pytest.fixture(scope="session")
def tiny(models):
    """Folder of the tiny Llama."""
    return models["llama"]
