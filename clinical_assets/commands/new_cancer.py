"""`clinical new-cancer`: from a data file to the first contract of a cancer type."""

from __future__ import annotations

import re
from typing import Annotated

import typer
import yaml
from rich.console import Console

console = Console(highlight=False)
HELP = """Write the first contract of a cancer type from a data file of any kind.

It reads the data and guesses what every column is: type, categories, plausible range, share of missing values,
sensitive attributes, identifiers, columns that give the outcome away. No patient's value is written, only category
levels and rounded bounds. What no file can tell (units, when each value is known, licence, context of use) is left
open: the draft loads and trains, and the gates refuse its model until you have completed it.

Examples:

  clinical new-cancer ovary --from ovary.csv --time months --time-unit months --event status

  clinical new-cancer ovary --from s3://trials/ovary.parquet --time days --event died --subject patient

  clinical new-cancer nodule --from scans.sas7bdat --label malignant --event-value yes

  clinical new-cancer ovary --from source.yaml --time DAYS --event EVENT     (databases, ADaM pairs, DVC)

Exit codes: 0 written, 1 the file exists and is left as it is, 2 the data or the options do not allow a draft."""


def new_cancer(
    slug: Annotated[str, typer.Argument(help="name of the new cancer type: small letters, digits and _")],
    location: Annotated[
        str, typer.Option("--from", help="csv, Parquet, xpt or sas7bdat file; a URL of one; or YAML with a `source`")
    ],
    time: Annotated[str, typer.Option(help="column with the time to event or censoring")] = "",
    event: Annotated[str, typer.Option(help="column that says whether the event happened")] = "",
    label: Annotated[str, typer.Option(help="column with a yes/no outcome, instead of --time and --event")] = "",
    event_value: Annotated[
        list[str] | None, typer.Option(help="code that means the event, where it is not 1, yes, dead, ...")
    ] = None,
    time_unit: Annotated[str, typer.Option(help="days, weeks, months or years")] = "days",
    horizon: Annotated[
        float | None, typer.Option(min=0.1, help="days at which risk is stated; proposed from the follow-up")
    ] = None,
    subject: Annotated[str, typer.Option(help="column that identifies a patient; guessed from its name")] = "",
    rows_are_subjects: Annotated[
        bool, typer.Option("--rows-are-subjects", help="no column identifies patients, and nobody has two rows")
    ] = False,
    index_date: Annotated[str, typer.Option(help="column with the date, or the year, of the prediction")] = "",
    where: Annotated[list[str] | None, typer.Option(help="COL=VALUE: keep only such rows; may be repeated")] = None,
    title: Annotated[str, typer.Option(help="what people read; the slug by default")] = "",
    icd10: Annotated[str, typer.Option(help="for instance C56")] = "C80",
    owner: Annotated[str, typer.Option(help="`team:name` or an e-mail address")] = "team:oncology_analytics",
) -> None:
    from clinical_assets.catalog import CancerType, configs_directory
    from clinical_assets.configuration import validate
    from clinical_assets.drafting.document import Heading, document
    from clinical_assets.drafting.draft import Question, draft
    from clinical_assets.drafting.errors import DraftError
    from clinical_assets.drafting.location import declared_source
    from clinical_assets.foundation.files import write_new
    from clinical_assets.trials.endpoint import DAYS_PER_UNIT
    from clinical_assets.trials.placeholder import TO_BE_COMPLETED

    if not re.fullmatch(r"[a-z][a-z0-9_]*", slug):
        raise DraftError(f"{slug!r}: a cancer type is named by small letters, digits and _, a letter first")
    if time_unit not in DAYS_PER_UNIT:
        raise DraftError(f"--time-unit {time_unit}: use one of {', '.join(DAYS_PER_UNIT)}")
    file = configs_directory() / "cancers" / f"{slug}.yaml"
    if file.exists():
        console.print(f"{file} exists and is left as it is; choose another name, or remove it first", soft_wrap=True)
        raise typer.Exit(1)
    rows = dict(_equation(rule) for rule in where or [])
    question = Question(
        time, event, label, tuple(event_value or ()), time_unit, horizon, subject, rows_are_subjects, index_date
    )
    drafted = draft(declared_source(location, rows), question)
    heading = Heading(slug, title or slug.replace("_", " ").capitalize(), icd10, owner)
    text = document(drafted, heading)
    validate(CancerType, yaml.safe_load(text), file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not write_new(file, text.encode()):
        console.print(f"{file} was written by somebody else meanwhile and is left as it is", soft_wrap=True)
        raise typer.Exit(1)
    roles = [column.role for column in drafted.contract.columns]
    console.print(f"wrote {file}", soft_wrap=True)
    console.print(
        f"{drafted.rows} patients, {drafted.events} events; {roles.count('feature')} features, "
        f"{roles.count('post_baseline')} post-baseline, {roles.count('ignored')} ignored"
    )
    for note in drafted.notes:
        console.print(f"- {note}", soft_wrap=True)
    console.print(
        f'next: replace "{TO_BE_COMPLETED}" ({text.count(TO_BE_COMPLETED) - 1} places), fill in `available_at`'
    )
    console.print(f"then: clinical backfill {slug}")


new_cancer.__doc__ = re.sub(r"(?<!\n)\n(?!\n)", " ", HELP)  # the terminal breaks the lines


def _equation(rule: str) -> tuple[str, str]:
    name, sign, value = rule.partition("=")
    if not (name and sign):
        raise typer.BadParameter(f"{rule!r}: write --where COLUMN=VALUE")
    return name, value
