"""What a source may declare: fields of its kind, paths, and never a secret."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from clinical_assets.catalog import CatalogError, configs_directory, load_catalog
from clinical_assets.trials.sources.redaction import redacted
from clinical_assets.trials.sources.spec import SourceSpec

from .cohorts import ORIGIN


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"path": "s3://key:secret@bucket/cohort.csv"}, "holds a user or a secret"),
        ({"path": "https://host/cohort.csv?X-Amz-Signature=abc"}, "holds a user or a secret"),
        ({"path": "https://host/cohort.csv?sig=abc"}, "holds a user or a secret"),
        ({"repository": "https://token@host/trial.git", "revision": "v1"}, "holds a user or a secret"),
        ({"repository": "trial"}, "needs `repository` and `revision` together"),
        ({"kind": "sql", "path": ""}, "needs `database` and `order_by`; needs either `table` or `query`"),
        ({"kind": "sql", "path": "", "order_by": ["id"], "table": "t", "database": "postgresql://u:p@h/d"}, "secret"),
        ({"kind": "sql", "path": "", "order_by": ["id"], "table": "t", "database": "trial.db"}, "environment variable"),
        (
            {"kind": "sql", "path": "", "order_by": ["id"], "database": "DB", "table": "t", "query": "SELECT 1"},
            "needs either `table` or `query`",
        ),
        ({"kind": "sas", "separator": ";"}, "takes no `separator`"),
        ({"kind": "adam"}, "needs `adtte` and `paramcd`"),
        ({"paramcd": "OS"}, "takes no `paramcd`"),
    ],
)
def test_a_declaration_with_secrets_or_fields_of_another_kind_is_refused(
    declared: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message) as error:
        SourceSpec.model_validate({"kind": "csv", "path": "cohort.csv", **ORIGIN, **declared})
    assert not re.search("key:secret|abc|token@|u:p@", str(error.value))


def test_a_secret_in_the_catalogue_is_not_repeated_by_the_error_or_its_cause(tmp_path: Path) -> None:
    text = (configs_directory() / "cancers" / "colon.yaml").read_text()
    secret = "https://reader:hunter2@host/cohort.csv"
    (tmp_path / "cancers").mkdir()
    (tmp_path / "cancers" / "colon.yaml").write_text(text.replace("source:\n", f"source:\n  path: {secret}\n"))
    with pytest.raises(CatalogError, match=r"source\.path: holds a user or a secret") as error:
        load_catalog(tmp_path)
    assert "hunter2" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    ("declared", "name", "expected"),
    [
        ({}, "path", "/configs/cancers/cohort.csv"),
        ({"path": "s3://bucket/cohort.csv"}, "path", "s3://bucket/cohort.csv"),
        ({"path": "/data/cohort.csv"}, "path", "/data/cohort.csv"),
        ({"kind": "adam", "adtte": "adtte.xpt", "paramcd": "OS"}, "adtte", "/configs/cancers/adtte.xpt"),
        ({"repository": "trial", "revision": "v1"}, "repository", "/configs/cancers/trial"),
        ({"repository": "trial", "revision": "v1"}, "path", "cohort.csv"),
        ({"repository": "git@host:group/trial.git", "revision": "v1"}, "repository", "git@host:group/trial.git"),
        ({"repository": "ssh://git@host/trial.git", "revision": "v1"}, "repository", "ssh://git@host/trial.git"),
    ],
)
def test_relative_paths_start_at_the_catalogue_file(declared: dict[str, Any], name: str, expected: str) -> None:
    declaration = SourceSpec.model_validate({"kind": "csv", "path": "cohort.csv", **ORIGIN, **declared})
    assert getattr(declaration.below(Path("/configs/cancers")), name) == expected


def test_secret_values_of_the_environment_never_appear_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_TOKEN", "tok-123456")
    monkeypatch.setenv("PLAIN", "visible")
    text = "failed at https://user:pw@host/x with tok-123456 and own-secret, visible\nsecond line"
    assert redacted(text, "own-secret", None) == "failed at https://***@host/x with *** and ***, visible"
