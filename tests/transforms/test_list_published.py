"""Every published document has one row in the ledger's files, and no other has."""

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.shard_files import BANDS, HASHES
from transforms.apply_mix import apply_mix
from transforms.decisions import write_decisions
from transforms.find_cuts import find_cuts
from transforms.ledger_files import read_ledger_file
from transforms.list_published import PublishedRun, list_shard, write_part
from transforms.mix_settings import MixSettings
from transforms.records import DECISION_SCHEMA, ScoredShard, make_addresses
from transforms.survey_mix import survey_shard
from transforms.write_shards import ShardWritten, shard_name

RUN = PublishedRun("c1", "run-1", "2025-06-01T00:00:00+00:00", BANDS)
N = 60


@pytest.fixture
def shards(tmp_path):
    random = np.random.default_rng(0)
    made = []
    for index in range(2):
        scored = {
            "generator": pa.array([None if row % 2 else "bot" for row in range(N)], pa.string()),
            "parents": pa.array([["p"] if row % 3 == 0 else None for row in range(N)], pa.list_(pa.string())),
            "task": pa.array(["t"] * N),
            "licence": pa.array([f"licence-{row % 2}" for row in range(N)]),
            "consent": pa.array(["true"] * N),
            "signature": pa.array([random.bytes(HASHES) if row else None for row in range(N)], pa.binary(HASHES)),
        }
        path = str(tmp_path / f"scored-{index}.parquet")
        pq.write_table(pa.table(scored), path)
        columns = {field.name: pa.nulls(N, field.type) for field in DECISION_SCHEMA}
        columns["address"] = pa.array(make_addresses(index, np.arange(N)))
        columns["id"] = pa.array([f"{index}-{row}" for row in range(N)])
        columns["source"] = pa.array(["s"] * N)
        columns["origin"] = columns["declared"] = pa.array([2 * (row % 2 == 0) for row in range(N)], pa.uint8())
        columns["row_key"] = pa.array(random.integers(0, 2**63, N).astype(np.uint64))
        columns["content_hash"] = pa.array([random.bytes(16) for _ in range(N)], pa.binary(16))
        columns["quality"] = pa.array(random.random(N).astype(np.float32))
        for name in ("words", "tokens", "bytes"):
            columns[name] = pa.array([10] * N, pa.int32())
        columns["reason"] = pa.array(["too_short" if row % 10 == 9 else None for row in range(N)], pa.string())
        columns["generation"] = pa.array([row % 3 for row in range(N)], pa.int16())
        columns["fresh"] = pa.array([row % 4 == 1 for row in range(N)])
        made.append(
            write_decisions(pa.table(columns, schema=DECISION_SCHEMA), ScoredShard(f"scored-{index}", path, N, index), str(tmp_path / "decided"))
        )
    return made


def mixed(shards):
    settings = MixSettings(human_quota="1/2", num_shards=3, max_documents=40)
    cuts = find_cuts(lambda request, mix: (found for shard in shards for found in survey_shard(shard, request, mix)), settings)
    written = [ShardWritten(shard_name(number, 3), (), (), 1, f"digest-{number}") for number in range(3)]
    return settings, cuts, written


def test_the_ledger_lists_exactly_what_is_published(shards, tmp_path):
    settings, cuts, written = mixed(shards)
    listed = [one for shard in shards for one in list_shard(shard, cuts, written, settings, RUN, str(tmp_path / "listed"))]
    by_part = defaultdict(list)
    for one in listed:
        for rows in one.rows:
            by_part[rows.kind, rows.part].append(rows)
    files = [file for keyed in sorted(by_part.items()) for file in write_part(keyed, str(tmp_path / "ledger"), "run-1")]
    rows = pa.concat_tables(
        [read_ledger_file(str(tmp_path / "ledger"), file, ["id", "shard", "shard_digest", "kind", "generation"]) for file in files]
    )
    expected = {}
    for shard in shards:
        table = pa.ipc.open_file(shard.path).read_all()
        output = apply_mix(table, cuts, settings).output_shard
        for row in np.flatnonzero(output >= 0):
            kind = "synthetic" if row % 2 == 0 else "human"
            expected[f"{shard.shard.index}-{row}"] = (shard_name(output[row], 3), f"digest-{output[row]}", kind, row % 3)
    held = {row["id"]: (row["shard"], row["shard_digest"], row["kind"], row["generation"]) for row in rows.to_pylist()}
    assert held == expected and rows.num_rows == len(expected) == 40
    assert sum(file.num_rows for file in files) == 40 and len({(file.kind, file.part) for file in files}) == len(files)


def test_counts_are_those_of_the_rows_with_what_is_fresh(shards, tmp_path):
    settings, cuts, written = mixed(shards)
    counts = Counter()
    for shard in shards:
        for one in list_shard(shard, cuts, written, settings, RUN, str(tmp_path / "listed")):
            counts.update({key: units[0] for key, units in one.counts.items()})
            assert all(units[1] == units[2] == 10 * units[0] for units in one.counts.values())
    assert counts.total() == 40
    assert {key[2] for key in counts} == {"human", "synthetic"} and all(key[2] == key[3] for key in counts)
    assert all(key[1] == ("bot" if key[2] == "synthetic" else "") for key in counts)
    assert all(key[2] == "human" for key in counts if key[5]) and any(key[5] for key in counts)


def test_the_files_do_not_depend_on_the_order_of_what_was_listed(shards, tmp_path):
    settings, cuts, written = mixed(shards)
    listed = [rows for shard in shards for one in list_shard(shard, cuts, written, settings, RUN, str(tmp_path / "listed")) for rows in one.rows]
    kind, part = Counter((rows.kind, rows.part) for rows in listed).most_common(1)[0][0]
    of_part = [rows for rows in listed if (rows.kind, rows.part) == (kind, part)]
    (one,) = write_part(((kind, part), of_part), str(tmp_path / "a"), "run-1")
    (other,) = write_part(((kind, part), of_part[::-1]), str(tmp_path / "b"), "run-1")
    assert one == other and (tmp_path / "a" / one.path).read_bytes() == (tmp_path / "b" / other.path).read_bytes()


def test_a_document_of_a_file_that_was_not_written_is_refused(shards, tmp_path):
    settings, cuts, written = mixed(shards)
    with pytest.raises(ValueError, match="which was not written"):
        list_shard(shards[0], cuts, written[:1], settings, RUN, str(tmp_path / "listed"))


def test_a_shard_that_publishes_nothing_lists_nothing(shards, tmp_path):
    settings, cuts, written = mixed(shards)
    table = pa.ipc.open_file(shards[0].path).read_all()
    index = table.schema.get_field_index("reason")
    none = write_decisions(table.set_column(index, "reason", pa.array(["x"] * N)), shards[0].shard, str(tmp_path / "none"))
    assert list_shard(none, cuts, written, settings, RUN, str(tmp_path / "listed")) == []


def listed_rows(shards, tmp_path, columns):
    settings, cuts, written = mixed(shards)
    by_part = defaultdict(list)
    for shard in shards:
        for one in list_shard(shard, cuts, written, settings, RUN, str(tmp_path / "listed")):
            for rows in one.rows:
                by_part[rows.kind, rows.part].append(rows)
    files = [file for keyed in sorted(by_part.items()) for file in write_part(keyed, str(tmp_path / "ledger"), "run-1")]
    return pa.concat_tables([read_ledger_file(str(tmp_path / "ledger"), file, columns) for file in files]).to_pylist()


def test_rows_carry_task_licence_and_consent(shards, tmp_path):
    rows = listed_rows(shards, tmp_path, ["id", "task", "licence", "consent"])
    assert len(rows) == 40
    assert all((row["task"], row["licence"], row["consent"]) == ("t", f"licence-{int(row['id'].split('-')[1]) % 2}", "true") for row in rows)


def test_shards_scored_before_licence_and_consent_are_listed_without(shards, tmp_path):
    for decided in shards:
        pq.write_table(pq.read_table(decided.shard.path).drop_columns(["licence", "consent"]), decided.shard.path)
    rows = listed_rows(shards, tmp_path, ["task", "licence", "consent"])
    assert len(rows) == 40 and {(row["task"], row["licence"], row["consent"]) for row in rows} == {("t", None, None)}
