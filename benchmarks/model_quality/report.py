"""The answers as tables: Markdown for the repository, the same tables by rich on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks import tables
from benchmarks.model_quality.comparison import COMPARED, ERROR, Contest, Standing, Summary
from benchmarks.model_quality.procedures import NULL, PEERS, PLATFORM, TITLES
from benchmarks.model_quality.published import Published, published
from benchmarks.model_quality.results import Results
from benchmarks.tables import Row, Section


def sections(summary: Summary) -> Iterator[Section]:
    """The tables in reading order: verdict first, cohort by cohort after it, then calibration, cost and failures."""
    yield _contests(summary)
    if summary.rankings:
        yield _ranks(summary)
    yield _cohorts(summary)
    yield _errors_of_prediction(summary)
    yield _published(summary)
    yield _costs(summary)
    if summary.errors:
        yield _failures(summary)


def markdown(summary: Summary, results: Results) -> str:
    """The whole report."""
    plan = results.plan
    whose = "all subjects" if plan["subjects"] == "all" else "the training split"
    introduction = (
        f"Every procedure learns on the same {plan['folds']} folds of {whose} of a cohort, stratified by event before "
        f"the horizon; {plan['repeats']} repeats, above {plan['large']} subjects one. The primary measure is Uno's C "
        "truncated at the horizon, or the AUROC. ▲ and ▼ mark where the platform is better or worse than the peer "
        "beyond the 95 % interval (corrected resampled t-test, Nadeau & Bengio 2003); ▲▲ and ▼▼ after Holm over the "
        "cohorts."
    )
    return tables.markdown("Model quality", introduction, sections(summary))


def _contests(summary: Summary) -> Section:
    rows = [_contest_row(contest, f"{contest.p_value:.3f}") for contest in summary.contests]
    note = (
        "Platform less peer; the mean is over cohorts, with its 95 % interval. p: Wilcoxon's signed-rank test over "
        "cohorts, Holm over the peers. Skill: 1 - Brier score / that of the null model (integrated up to the horizon)."
    )
    if summary.twins:
        twins = summary.twins
        note += (
            f" False alarms: a forest against itself with another seed is called different in "
            f"{len(twins.won()) + len(twins.lost())} of {len(twins.differences)} cohorts, after Holm in "
            f"{len(twins.won(True)) + len(twins.lost(True))}."
        )
    header = (
        *("against", "cohorts", "higher", "better (95 %)", "worse (95 %)", "better (Holm)", "worse (Holm)"),
        *("mean difference", "p", "skill difference"),
    )
    return Section("Platform against each peer", note, header, rows)


def _contest_row(contest: Contest, p_value: str) -> Row:
    counts = (contest.won(), contest.lost(), contest.won(True), contest.lost(True))
    return (
        TITLES[contest.second],
        str(len(contest.differences)),
        str(contest.higher),
        *(str(len(slugs)) for slugs in counts),
        f"{contest.mean.mean:+.4f} ({contest.mean.low:+.4f} to {contest.mean.high:+.4f})",
        p_value,
        f"{contest.skill.mean:+.4f} ({contest.skill.low:+.4f} to {contest.skill.high:+.4f})",
    )


def _ranks(summary: Summary) -> Section:
    rows = [
        (
            "discrimination" if measure == "primary" else "skill (Brier)",
            *(f"{ranking.ranks[name]:.2f}" for name in COMPARED),
            f"{ranking.critical:.2f}",
            f"{ranking.test.chi_square:.1f}",
            f"{ranking.test.p_value:.2g}",
        )
        for measure, ranking in summary.rankings.items()
    ]
    cohorts = next(iter(summary.rankings.values())).cohorts
    note = (
        f"1 is best; {cohorts} cohorts. Ranks further apart than the critical difference (Nemenyi, 5 %) differ; "
        "p is of Friedman's test in Iman & Davenport's form (Demsar 2006)."
    )
    header = ("mean rank", *(TITLES[name] for name in COMPARED), "critical difference", "Friedman χ²", "p")
    return Section("Mean ranks", note, header, rows)


def _cohorts(summary: Summary) -> Section:
    marks = {(contest.second, slug): _mark(contest, slug) for contest in summary.contests for slug in contest.adjusted}
    rows = []
    for standing in summary.standings:
        cells = [standing.slug, str(standing.cohort["subjects"]), str(standing.cohort["events_by_horizon"])]
        for name in COMPARED:
            value = standing.means.get(name, {}).get(standing.primary)
            cells.append("failed" if value is None else f"{value:.3f}{marks.get((name, standing.slug), '')}")
        rows.append(cells)
    header = ("cohort", "subjects", "events", *(TITLES[name] for name in COMPARED))
    note = "Uno's C up to the horizon, or AUROC, mean over the folds; events by the horizon, or positive labels."
    return Section("Discrimination by cohort", note, header, rows)


def _mark(contest: Contest, slug: str) -> str:
    sign = " ▲" if contest.differences[slug].mean > 0 else " ▼"
    if slug in contest.won(True) + contest.lost(True):
        return sign + sign.strip()
    return sign if slug in contest.won() + contest.lost() else ""


def _errors_of_prediction(summary: Summary) -> Section:
    rows = []
    for name in (*COMPARED, NULL):
        found = [(standing, standing.means[name]) for standing in summary.standings if name in standing.means]
        columns = [_median([means.get(measure) for _, means in found]) for measure in ("skill", "ici", "slope", "oe")]
        harrell = _median([means.get("harrell_c") for standing, means in found if standing.primary == "uno_c"])
        accuracy = _median([means.get("accuracy") for _, means in found])
        error = _median([means.get(ERROR[standing.cohort["kind"]]) for standing, means in found])
        rows.append((TITLES[name], str(len(found)), harrell, accuracy, error, *columns))
    note = (
        "Medians over cohorts. Harrell's C: survival cohorts; accuracy at 0.5: binary ones. Integrated calibration "
        "index, slope (ideal 1) and observed / expected (ideal 1) are of pooled out-of-fold risks at the horizon."
    )
    header = ("procedure", "cohorts", "Harrell's C", "accuracy", "IBS / Brier", "skill", "ICI", "slope", "O/E")
    return Section("Error and calibration", note, header, rows)


def _published(summary: Summary) -> Section:
    known = published()
    rows = [_published_row(standing, entry) for standing in summary.standings for entry in known.get(standing.slug, [])]
    note = "Harrell's C or AUROC as others report it, beside this run. Their columns, tuning and folds differ."
    return Section(
        "Beside published figures", note, ("cohort", "procedure", "theirs", "ours", "platform", "source"), rows
    )


def _published_row(standing: Standing, entry: Published) -> Row:
    ours = standing.means.get(entry.procedure, {}).get(entry.measure)
    platform = standing.means.get(PLATFORM, {}).get(entry.measure)
    return (
        standing.slug,
        TITLES.get(entry.procedure, entry.procedure),
        f"{entry.value:.3f}",
        *("" if value is None else f"{value:.3f}" for value in (ours, platform)),
        f"{entry.source}, {entry.note}",
    )


def _costs(summary: Summary) -> Section:
    rows = []
    for name in (PLATFORM, *PEERS):
        found = [(standing.means[name], standing.slug) for standing in summary.standings if name in standing.means]
        if not found:
            continue
        total = sum(means["cpu_seconds"] for means, _ in found)
        peak, slug = max((means["peak_cpu_seconds"], slug) for means, slug in found)
        median = float(np.median([means["peak_cpu_seconds"] for means, _ in found]))
        rows.append((TITLES[name], f"{total:.0f}", f"{median:.1f}", f"{peak:.1f} ({slug})"))
    header = ("procedure", "total CPU s", "slowest fold, median cohort", "slowest fold of all")
    return Section("Cost", "CPU seconds of learning and predicting, one thread.", header, rows)


def _failures(summary: Summary) -> Section:
    rows = [
        (slug, TITLES.get(name, name), text) for slug, found in summary.errors.items() for name, text in found.items()
    ]
    return Section("Failures", "The same command repeats these alone.", ("cohort", "procedure", "error"), rows)


def _median(values: list[float | None]) -> str:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return f"{np.median(known):.3f}" if known else ""
