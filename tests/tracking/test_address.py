"""Where runs are recorded, whatever the folder is called and wherever a stage runs."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from pipeline.common.errors import UserError
from pipeline.tracking import start_run
from pipeline.tracking.address import Address, sqlite_uri, tracking_address
from tests.mlflow_runs import client_of, run_of

# MLflow's own; it looks at its tables once per process.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

ODD_NAMES = (
    "a b",
    "50%",
    "a%20b",
    "a%2520b",
    "a?b",
    "a#b",
    "a&b=c",
    "it's",
    'say "a"',
    "Füchse",
    "[a] (1);$x",
    "x" * 220,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_EXP_NAME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")  # as under `dvc exp run --temp`: not the checkout


@pytest.mark.parametrize("name", ODD_NAMES)
def test_address_of_a_database_names_that_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / name / "mlflow.db"
    url = make_url(sqlite_uri(file))
    assert url.database == str(file) and not url.query


@pytest.mark.parametrize("name", ["a%20b?c#d", 'it\'s "a" Füchse & co'])
def test_run_in_a_folder_of_any_name_is_recorded_in_it(name: str, tmp_path: Path, mlflow_database: Path) -> None:
    checkout = tmp_path / name
    checkout.mkdir()
    shutil.copy(mlflow_database, checkout / "mlflow.db")
    (tmp_path / "page.html").write_text("a page")
    run = start_run(checkout, name="toy", settings={}, tags={})
    run.log_artifact(tmp_path / "page.html")
    assert run_of(checkout).info.run_id == run.id
    assert (checkout / "mlruns" / run.id / "artifacts" / "page.html").read_text() == "a page"
    assert client_of(checkout).list_artifacts(run.id)[0].path == "page.html"
    assert {path.name for path in tmp_path.iterdir()} == {name, "copy", "page.html"}, "MLflow's folder by mistake"
    assert {path.name for path in checkout.iterdir()} == {"mlflow.db", "mlflow.db.lock", "mlruns"}


@pytest.mark.parametrize(
    ("given", "file"),
    [
        (None, "mlflow.db"),
        ("", "mlflow.db"),
        ("sqlite:///mlflow.db", "mlflow.db"),
        ("sqlite:///runs/all of them.db", "runs/all of them.db"),
        ("sqlite:///a%20b.db", "a b.db"),
    ],
)
def test_relative_database_lies_in_the_checkout_with_its_artifacts(
    given: str | None, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    expected = tmp_path / file
    assert tracking_address(tmp_path) == Address(sqlite_uri(expected), expected, (tmp_path / "mlruns").as_uri())


def test_run_of_a_copy_of_the_checkout_stays(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc exp run --temp` with a relative address: the copy is removed, the run and its files are in the checkout."""
    shutil.copy(mlflow_database, tmp_path / "runs.db")
    for given in ("sqlite:///runs.db", f"sqlite:///{tmp_path / 'runs.db'}"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        run = start_run(tmp_path, name="toy", settings={}, tags={})
        assert run.client.get_run(run.id).info.artifact_uri == (tmp_path / "mlruns" / run.id / "artifacts").as_uri()
    assert list((tmp_path / "copy").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("https://mlflow.example.org", "https://mlflow.example.org"),
        ("postgresql+psycopg2://a@db/mlflow", "postgresql+psycopg2://a@db/mlflow"),
        ("databricks", "databricks"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("file:///srv/mlruns", "file:///srv/mlruns"),
    ],
)
def test_address_that_is_not_relative_stays(
    given: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking_address(tmp_path).uri == uri


@pytest.mark.parametrize("given", ["./mlruns", "file:mlruns", "mlruns"])
def test_relative_folder_is_one_of_the_checkout(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlruns").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking_address(tmp_path) == Address((tmp_path / "mlruns").as_uri())


@pytest.mark.parametrize("given", ["mlflow.example.org", "localhost:5000", "anna:geheim@mlflow.example.org:5000"])
def test_address_without_its_scheme_is_one_line(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    with pytest.raises(
        UserError, match="MLFLOW_TRACKING_URI is .*: a server begins with http:// or https://"
    ) as caught:
        start_run(tmp_path, name="toy", settings={}, tags={})
    assert "\n" not in str(caught.value) and "geheim" not in str(caught.value)
