"""Runs one command: plans the work, starts the cores, runs the graph, and says how it ended."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from classifiers.calibration import LengthThresholds
from classifiers.detectors import detector_calibration
from classifiers.scorers import warm_up, without_detector
from pipeline.decided import decision_key, find_decided
from pipeline.decontamination import check_evaluation, place_index, read_sets
from pipeline.demo import write_demo_inputs
from pipeline.errors import BY_EXIT_CODE, HeadwaterError, UsageError, what_it_says
from pipeline.finishing import now
from pipeline.flag_groups import IN_MEMORY_RUNNER, default_workers
from pipeline.folders import Folders
from pipeline.funnel import print_funnel
from pipeline.inference import detector_version, inference_of
from pipeline.job import Job
from pipeline.lean_imports import import_beam_for_local_files
from pipeline.options import fields_of, inputs_of
from pipeline.progress import RunProgress
from pipeline.publishing import published_manifest, published_run, stage_output
from pipeline.recipe import Recipe, check_rule_sources, default_tables, load_recipe
from pipeline.recipe_flags import overrides_of
from pipeline.run_facts import RunFacts
from pipeline.shuffle_size import pieces_of_shards, pieces_of_splits, size_shuffles
from pipeline.standard_output import printing
from transforms.inputs import InputError
from transforms.scored_shards import read_scored_columns, read_scored_metadata
from transforms.storage import beam_filesystems, is_local, join_path, open_binary
from transforms.worker_pool import WorkerDied, start_pool, stop_pool

LOCAL_RUNNERS = ("FnApiRunner", "DirectRunner", "InMemoryRunner", "BundleBasedDirectRunner")
"""Runners that run in this process, to which a pool of processes adds the other cores."""


def run_command(parsed: Namespace, command_line: tuple[str, ...]) -> dict[str, Any]:
    """Runs `curate`, `remix`, `plan` or `demo`, prints the funnel, and returns the manifest. Raises HeadwaterError.

    Where only a Dataflow template is made, nothing is run and the manifest is empty.
    """
    if parsed.command == "demo":
        return _run_demo(parsed, command_line)
    began = time.monotonic()
    from_scores = getattr(parsed, "scored", None) is not None
    if from_scores:
        scored = scored_shards(parsed.scored)
        recipe, detector = remix_recipe(parsed, scored[0])
        index = None
        inputs: tuple = (("scored", parsed.scored, "as scored"),)
        work: dict[str, Any] = {"scored": tuple(scored)}
        total_bytes, pieces = 0, pieces_of_shards(len(scored))
    else:
        _import_beam(parsed, command_line)
        from transforms.plan_splits import plan_splits

        recipe, detector = load_recipe(parsed.recipe, overrides_of(parsed)), None
        specs, fields = inputs_of(parsed), fields_of(parsed)
        check_rule_sources(recipe, [spec.name for spec in specs])
        try:
            splits = plan_splits(specs, fields, split_bytes=recipe.read.split_bytes, text_unit=recipe.read.text_unit)
        except InputError as error:
            raise UsageError(str(error)) from error
        inputs = tuple((spec.name, spec.pattern, spec.origin or "by record") for spec in specs)
        work = {"splits": tuple(splits), "fields": fields}
        total_bytes, pieces = sum(split.num_bytes for split in splits), pieces_of_splits(splits, recipe.read.split_bytes)
        recipe, index = read_sets(recipe)
    recipe = size_shuffles(recipe, pieces)
    thresholds = detector_thresholds(recipe, detector)
    output = _output_of(parsed)
    if not output and not _is_local_runner(parsed.runner):
        raise UsageError(f"--runner={parsed.runner}: a plan works in a folder of this machine; leave --runner out")
    facts = RunFacts(
        run_id=f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(4)}",
        mode=parsed.command,
        output=output,
        started_at=now(),
        command=command_line,
        inputs=inputs,
        overwrite=getattr(parsed, "overwrite", False),
        decision_key=decision_key(recipe, thresholds),
    )
    if not from_scores:
        work["inference"] = inference_of(parsed, recipe, runs_here=_is_local_runner(parsed.runner))
    else:
        work["decided"] = find_decided(parsed.scored, [path.rsplit("/", 1)[-1] for path in scored], facts.decision_key)
    with _staging(parsed, facts) as folders:
        if from_scores and output:
            _keep_dead_letters(parsed.scored, folders)
        job = Job(recipe=place_index(recipe, index, folders.root), facts=facts, folders=folders, thresholds=thresholds, write=bool(output), **work)
        _carry_out(job, parsed, total_bytes)
        if parsed.beam and (template := _template_of(parsed)):
            print(f"Left the Dataflow template at {template}; nothing was run.")
            return {}
        manifest_path = join_path(output, "manifest.json") if output else folders.manifest
        with contextlib.closing(open_binary(manifest_path)) as file:
            manifest = json.loads(file.read())
    elapsed = time.monotonic() - began
    with printing(f"the dataset is published at {output}, whole; manifest.json there has every figure of the report" if output else ""):
        print_funnel(manifest)
        if "cycle" in manifest:
            # Imported here: a run without memory needs none of it.
            from pipeline.cycle_report import render_report

            print(render_report(manifest["cycle"]))
        print(f"Published to {output} in {elapsed:,.1f} s." if output else f"Nothing was written: this is a plan, made in {elapsed:,.1f} s.")
    return manifest


def decide_again(
    parsed: Namespace, command_line: tuple[str, ...], scored: Sequence[str], recipe: Recipe, thresholds: LengthThresholds | None, folders: Folders
) -> None:
    """Decides about scored shards anew, up to the mix, and leaves the decisions in `folders`. Raises HeadwaterError."""
    facts = RunFacts("decide-again", "plan", "", now(), command_line, (("scored", parsed.scored, "as scored"),), False)
    recipe = size_shuffles(recipe, pieces_of_shards(len(scored)))
    _carry_out(
        Job(recipe=recipe, facts=facts, folders=folders, thresholds=thresholds, scored=tuple(scored), write=False, decides_only=True), parsed, 0
    )


def _run_demo(parsed: Namespace, command_line: tuple[str, ...]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="headwater-demo-") as folder:
        for flag, path in write_demo_inputs(folder).items():
            setattr(parsed, flag, [f"demo-{flag}={path}"])
        # A quota and shards that have something to do: the examples hold more good synthetic text than this quota lets in.
        parsed.human_quota = parsed.human_quota or "0.75"
        parsed.num_shards = parsed.num_shards or 4
        # Scorers that the examples have nothing for are left out: compiling their kernels, once a machine, takes a third of a first demo.
        scorers = [name for name in default_tables()["score"]["scorers"] if name not in ("c4", "fineweb", "personal_data")]
        parsed.set = [f"score.scorers={json.dumps(scorers)}", *(parsed.set or ())]
        parsed.command = "curate"
        return run_command(parsed, command_line)


def scored_shards(folder: str) -> list[str]:
    """Paths of the scored shards in `folder`, sorted. Raises UsageError if there is none."""
    pattern = join_path(folder, "*.parquet")
    if is_local(folder):
        found = sorted(glob.glob(os.path.join(glob.escape(folder), "*.parquet")))
    else:
        try:
            found = sorted(metadata.path for metadata in beam_filesystems().match([pattern])[0].metadata_list)
        except Exception as error:
            # Every filesystem has errors of its own: no such bucket, no credentials, no such scheme.
            raise UsageError(
                f"--scored={folder}: cannot be listed ({str(error).splitlines()[0]}); give the scored/ folder of an earlier run"
            ) from error
    if not found:
        raise UsageError(f"--scored={folder}: holds no scored shards; give the scored/ folder that `headwater curate` left")
    wanted = _shards_left_by_curate(folder)
    if wanted is not None and len(found) < wanted:
        raise UsageError(
            f"--scored={folder}: holds {len(found):,} scored shards, and the run that made them left {wanted:,}; their documents would be lost: "
            "bring the others back, or copy those that are wanted to a folder of their own"
        )
    return found


def _shards_left_by_curate(folder: str) -> int | None:
    # Shards that stand beside no manifest, or one from before it counted them, were copied by hand or are in an object store: any number will do.
    path = os.path.join(os.path.dirname(os.path.abspath(folder)), "manifest.json")
    if not is_local(folder) or os.path.basename(os.path.abspath(folder)) != "scored" or not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            return json.loads(file.read()).get("scored_shards")
    except (OSError, ValueError) as error:
        raise UsageError(f"--scored={folder}: the manifest beside it, {path}, cannot be read: {what_it_says(error)[0]}") from error


def remix_recipe(parsed: Namespace, shard: str) -> tuple[Recipe, str | None]:
    """The recipe of a run that starts from scored shards, and the version of the detector that scored them.

    Section [score] is that of the shards. Raises UsageError if another was asked for.
    """
    try:
        about = read_scored_metadata(shard)
    except (ValueError, OSError) as error:
        raise UsageError(f"--scored: {error}") from error
    recipe = load_recipe(parsed.recipe, overrides_of(parsed), scored_with=about["settings"], scored_columns=read_scored_columns(shard))
    for key, value in recipe.tables["score"].items():
        if value != about["settings"][key]:
            raise UsageError(
                f"score.{key} = {value!r}, but the shards in {parsed.scored} were scored with {about['settings'][key]!r}; "
                "leave it out, or score again with `headwater curate`"
            )
    check_evaluation(recipe, parsed.scored)
    return recipe, about["scorers"].get("ai_detector", {}).get("version")


def detector_thresholds(recipe: Recipe, detector: str | None) -> LengthThresholds | None:
    """The detector's thresholds for the false-positive rate that the recipe tolerates; None where no detector scores.

    `detector` is the version that scored; None: that of the detector that the recipe names. Raises UsageError when the
    calibration cannot be read, was made for another detector, or cannot promise that rate.
    """
    if "ai_detector" not in recipe.score.scorers:
        return None
    try:
        calibration = detector_calibration(recipe.score.ai_detector, recipe.origin.calibration or None)
        version = detector or detector_version(recipe.score)
        if calibration.detector != version:
            raise ValueError(
                f"the calibration is of detector {calibration.detector}, but the scores are of {version}; "
                "give one made for it (--calibration, see `python -m classifiers calibrate`)"
            )
        return calibration.thresholds(recipe.origin.max_false_positive_rate)
    except (ValueError, OSError) as error:
        raise UsageError(f"origin: {error}") from error


def _output_of(parsed: Namespace) -> str:
    """The folder to publish to; empty for a plan."""
    if not hasattr(parsed, "output"):
        return ""
    if not parsed.output:
        raise UsageError("--output=: names no folder; give the one that is to hold the dataset")
    if not is_local(parsed.output):
        return parsed.output
    # As inputs are: no shell does it after an equals sign.
    output, ledger = os.path.expanduser(parsed.output), getattr(parsed, "ledger", None)
    if ledger and is_local(ledger):
        places = [os.path.realpath(output), os.path.realpath(os.path.expanduser(ledger))]
        if os.path.commonpath(places) in places:
            raise UsageError(f"--output={output}: and --ledger={ledger} lie one in the other; a dataset is replaced whole, so give them folders apart")
    return output


@contextlib.contextmanager
def _staging(parsed: Namespace, facts: RunFacts) -> Iterator[Folders]:
    if facts.output:
        if getattr(parsed, "scored", None) and is_local(facts.output) and is_local(parsed.scored):
            output, scored = os.path.realpath(facts.output), os.path.realpath(parsed.scored)
            if os.path.commonpath([output, scored]) == output:
                raise UsageError(f"--output={facts.output}: holds the scored shards that this run reads; give another folder")
        with contextlib.ExitStack() as stack:
            try:
                folders = stack.enter_context(stage_output(facts.output, facts.run_id, overwrite=facts.overwrite))
            except UsageError:
                # What is there may be of a run that died before its ledger knew: the ledger is told, whatever comes of this one.
                _recover_ledger(parsed)
                raise
            yield folders
        return
    with tempfile.TemporaryDirectory(prefix="headwater-plan-") as folder:
        yield Folders(folder)


def _recover_ledger(parsed: Namespace) -> None:
    if getattr(parsed, "ledger", None):
        from pipeline.ledger import read_ledger
        from pipeline.ledger_commit import recover

        if read_ledger(parsed.ledger).keys is not None:
            recover(parsed.ledger)


def _with_ledger(job: Job, parsed: Namespace) -> Job:
    url, alarms = getattr(parsed, "ledger", None), getattr(parsed, "fail_on", None)
    if not url:
        given = [name for name, value in (("--cycle", getattr(parsed, "cycle", None)), ("--fail_on", alarms)) if value]
        given += [f"ledger.{key}" for key, value in default_tables()["ledger"].items() if job.recipe.tables["ledger"][key] != value]
        if given:
            raise UsageError(f"{given[0]}: needs the memory of earlier cycles; give --ledger DIR and --cycle NAME, or leave it out")
        return job
    from pipeline.alarms import parse_alarm
    from pipeline.cycle_report import FIGURES
    from pipeline.ledger_job import prepare_ledger

    parsed_alarms = [parse_alarm(text, FIGURES) for text in alarms or ()]
    replaced = published_run(job.facts.output) if job.facts.output and job.facts.overwrite else None
    return replace(job, ledger=prepare_ledger(url, parsed.cycle or "", job.recipe, parsed_alarms, replaced_run=replaced, write=job.write))


def _carry_out(job: Job, parsed: Namespace, total_bytes: int) -> None:
    # What carries the run out is imported before the pool forks: whatever that brings along is then shared by all processes.
    if needs_no_beam(job, parsed):
        from pipeline.remix_here import remix_here as carry_out
    else:
        _import_beam(parsed, job.facts.command)
        from pipeline.run_graph import run_graph as carry_out
    workers = parsed.workers if parsed.workers is not None else default_workers() if _is_local_runner(parsed.runner) else 1
    settings = job.recipe.score if job.inference is None else without_detector(job.recipe.score)
    try:
        # Forked before Beam starts its threads: what is loaded now is shared by all of them.
        start_pool(workers, None if job.scored else lambda: warm_up(settings))
    except ValueError as error:
        raise UsageError(f"recipe: score: {error}") from error
    try:
        # After the pool: the processes of the pool must not inherit the threads of the ledger's library.
        job = _with_ledger(job, parsed)
        with RunProgress(parsed.progress, total_bytes):
            carry_out(job, parsed)
    except HeadwaterError as error:
        raise _refusal(job.folders) or error from None
    except Exception as error:
        refused = _refusal(job.folders)
        if refused is not None:
            raise refused from error
        if parsed.debug:
            raise
        if re.search(r"^KeyboardInterrupt\b", str(error), re.MULTILINE):
            # Beam makes an error of its own even of that.
            raise KeyboardInterrupt from None
        raise HeadwaterError(f"{_cause(error)} {_what_became_of(job)} With --debug for the whole traceback.") from error
    finally:
        stop_pool()


def needs_no_beam(job: Job, parsed: Namespace) -> bool:
    """Whether only the mix is left to do, with files and processes of this machine."""
    places = (*job.scored[:1], job.folders.root)
    return job.decided is not None and parsed.runner == IN_MEMORY_RUNNER and not parsed.beam and all(is_local(place) for place in places)


def _what_became_of(job: Job) -> str:
    """What is there after a run that stopped, and what to do: the dataset is published before the ledger is told."""
    facts = job.facts
    if not (facts.output and published_manifest(facts.output, facts.run_id)):
        return "Nothing was published. Run again."
    remedy = f"`headwater ledger verify {job.ledger.url}` commits its rows" if job.ledger else "nothing is left to do"
    return f"The dataset had been published to {facts.output} by then, whole: {remedy}."


def _import_beam(parsed: Namespace, command_line: tuple[str, ...]) -> None:
    if parsed.runner == IN_MEMORY_RUNNER and not parsed.beam and not any("://" in argument for argument in command_line):
        import_beam_for_local_files()


def _template_of(parsed: Namespace) -> str | None:
    from pipeline.run_graph import template_of

    return template_of(parsed)


def _is_local_runner(runner: str) -> bool:
    return runner.rsplit(".", 1)[-1] in LOCAL_RUNNERS


def _refusal(folders: Folders) -> HeadwaterError | None:
    try:
        with contextlib.closing(open_binary(folders.refusal)) as file:
            found = json.loads(file.read())
    except OSError:
        return None
    return BY_EXIT_CODE[found["exit_code"]](found["message"])


def _cause(error: BaseException) -> str:
    # Beam wraps what a worker raised into the text of its own error, the first line of which says it. An error that quotes its cause says more.
    while error.__cause__ is not None and not isinstance(error, WorkerDied) and str(error.__cause__) not in str(error):
        error = error.__cause__
    lines = what_it_says(error)
    raised = [line for line in lines if re.match(r"^[\w.]*(Error|Died|Exception|Interrupt)\b.*:", line)]
    said = (raised or lines)[-1 if raised else 0]
    return f"The run stopped: {said.rstrip('.')}."


def _keep_dead_letters(scored: str, folders: Folders) -> None:
    letters = os.path.join(os.path.dirname(os.path.abspath(scored)), "dead_letters")
    if is_local(scored) and is_local(folders.root) and os.path.isdir(letters):
        shutil.copytree(letters, folders.dead_letters)


def fault_outside(error: Exception) -> HeadwaterError | None:
    """What to say of an error of the disk, of a file or of the ledger's library; None for any other, which is a defect and has a traceback."""
    library = sys.modules.get("deltalake")
    outside = (OSError, pa.ArrowException, *([library.exceptions.DeltaError] if library else []))
    return HeadwaterError(_cause(error)) if isinstance(error, outside) else None


def complain(error: HeadwaterError) -> int:
    """Says why a run stopped, on standard error, and returns its exit code."""
    print(f"headwater: {error}", file=sys.stderr)
    return error.exit_code
