"""The end of a run that has a ledger: the cycle report, the alarms, then publication and commit as one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.alarms import attribute, evaluate, raise_tripped
from pipeline.cycle_report import NO_GENERATOR, CycleFacts, Survey, build_report, figures_of, leave_out, reference_of, report_figures, shares_by
from pipeline.ledger_commit import delete_rows, publish_and_commit, settle_run
from pipeline.ledger_history import keep_reference
from pipeline.ledger_job import LedgerJob, LedgerRun
from pipeline.ledger_records import this_host
from pipeline.recipe import Recipe
from pipeline.run_facts import Counts, RunFacts
from transforms.records import Reason
from transforms.storage import is_local
from transforms.write_shards import human_origins


@dataclass(frozen=True, eq=False)
class Memory:
    """What `finish_run` needs of a run that has a ledger."""

    job: LedgerJob
    """The ledger as the run found it."""
    run: LedgerRun
    """Its rows."""
    survey: Survey
    """What its files hold."""

    def report(self, facts: RunFacts, recipe: Recipe, counts: Counts) -> dict[str, Any]:
        """The cycle report of the run. Its shares are those of the rows that the ledger will hold."""
        job = self.job
        survey = self._survey()
        about = CycleFacts(
            job.cycle,
            facts.run_id,
            _rejected(counts, Reason.REUSED),
            _rejected(counts, Reason.WITHDRAWN),
            self.run.lineage.stated(),
        )
        report = build_report(survey, about, job.reference, **_shown_by(recipe))
        if job.reference is None and reference_of(survey) is not None:
            # This cycle's human text becomes the reference, of which it has by definition as much as there is.
            report["diversity"]["figures"]["tail_coverage"] = {"value": 1.0, "low": 1.0, "high": 1.0, "groups": 0}
        return report

    def check(self, recipe: Recipe, report: Mapping[str, Any]) -> None:
        """Raises AlarmTripped, naming who moved the figure most, if an alarm trips; what the run wrote for the ledger is then deleted."""
        job = self.job
        tripped = evaluate(job.alarms, report_figures(report), job.earlier)
        if not tripped:
            return
        survey = self._survey()
        names = {column: shares_by(survey, column, recipe.mix.quota_unit) for column in ("source", "generator")}
        names["generator"].pop(NO_GENERATOR, None)

        def without(column: str, name: str) -> Mapping[str, float]:
            return figures_of(leave_out(survey, column, name), job.reference, **_shown_by(recipe))

        self.abandon()
        raise_tripped([attribute(one, names, without) for one in tripped])

    def publish(self, facts: RunFacts, report: Mapping[str, Any], claimed_at: str, publish: Callable[[], str]) -> str:
        """Publishes by `publish` and commits the run's rows; returns what `publish` does. Raises LedgerConflict with nothing published."""
        job = self.job
        pending = job.pending(facts.run_id, _output(facts), self.run.files, this_host(), claimed_at, report_figures(report))
        published = publish_and_commit(job.url, pending, publish)
        if job.reference is None:
            keep_reference(job.url, reference_of(self._survey()))
        return published

    def settle(self, facts: RunFacts) -> None:
        """Commits a run that has published already: what a step that is repeated after publication has left to do."""
        settle_run(self.job.url, facts.run_id)

    def abandon(self) -> None:
        """Deletes what a run wrote for the ledger and will not commit."""
        delete_rows(self.job.url, self.run.files)

    def manifest_entries(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """What the manifest says of the ledger and the cycle."""
        job = self.job
        about = {
            "url": job.url,
            "cycle": job.cycle,
            "decided_by_version": job.snapshot.version,
            "rows": sum(file.num_rows for file in self.run.files),
        }
        return {"ledger": {**about, "replaces": list(job.ignored_runs)}, "cycle": dict(report)}

    def _survey(self) -> Survey:
        counts = {(source, generator or NO_GENERATOR, *rest): units for (source, generator, *rest), units in self.run.counts.items()}
        return replace(self.survey, counts=counts)


def _shown_by(recipe: Recipe) -> dict[str, Any]:
    return {"human_origins": human_origins(recipe.mix.count_presumed_human), "unit": recipe.mix.quota_unit, "fresh_known": True}


def _rejected(counts: Counts, reason: Reason) -> int:
    return sum(units[0] for key, units in counts if key[4] == reason)


def _output(facts: RunFacts) -> str:
    return os.path.abspath(facts.output) if is_local(facts.output) else facts.output
