import pytest

from planner.cli.main import run
from profiler.store import Store


@pytest.fixture
def store_path(tmp_path, monkeypatch):
    """Where the user's own store would be."""
    path = tmp_path / "own.db"
    monkeypatch.setenv("SIZEUP_STORE", str(path))
    return path


@pytest.fixture
def add(store_path):
    """Call this to put measurements into the user's own store."""

    def add_to_store(*measurements):
        with Store.open(store_path) as store:
            store.add_many(measurements)

    return add_to_store


@pytest.fixture
def sizeup(capsys, store_path):
    """Call this as the command line; it returns exit code, stdout and stderr."""

    def call(*arguments):
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def refusal(sizeup):
    """Call this as a command line that must fail: it returns the exit code and the one sentence."""

    def call(*arguments):
        code, out, err = sizeup(*arguments)
        assert code != 0
        assert out == ""
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        return code, err.removeprefix("Error: ").strip()

    return call
