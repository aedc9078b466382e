"""Decision files: what DECIDE has so far decided about each scored shard, one Arrow IPC file each.

They lie in the staging folder and are written anew by each stage, so that only ids, hashes and numbers of the documents
at stake are shuffled, and nothing has to be kept in a runner's memory: about 100 bytes of disk a document.
"""

import contextlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.mix_settings import RANK_FIELD
from transforms.records import DECISION_SCHEMA, DecidedShard, ScoredShard
from transforms.storage import join_path, open_arrow, open_binary, write_whole


def read_decisions(decided: DecidedShard, columns: Sequence[str] | None = None, scored: Sequence[str] = ()) -> pa.Table:
    """The decision file of a shard, or only `columns` of it; beside them the columns `scored` of the scored shard, as far as not among them.

    `cluster_rank` (uint16) among `scored` is read from the file of ranks.

    What groups are made of is read there when it is asked for: decision files stay as narrow as they are.
    """
    options = pa.ipc.IpcReadOptions(included_fields=[DECISION_SCHEMA.get_field_index(name) for name in columns] if columns else None)
    with open_arrow(decided.path) as file:
        decisions = pa.ipc.open_file(file, options=options).read_all()
    missing = [name for name in scored if name not in decisions.column_names]
    if RANK_FIELD in missing:
        missing.remove(RANK_FIELD)
        with contextlib.closing(open_binary(decided.ranks_path)) as file:
            decisions = decisions.append_column(RANK_FIELD, pa.array(np.frombuffer(file.read(), "<u2")))
    if missing:
        with open_arrow(decided.shard.path) as file:
            beside = pq.read_table(file, columns=missing, use_threads=False)
        for name in missing:
            decisions = decisions.append_column(name, beside[name])
    return decisions


def decision_path(folder: str, index: int) -> str:
    """Where the decision file of the shard with that index lies under `folder`."""
    return join_path(folder, f"{index:06d}.arrow")


def recall_decisions(shard: ScoredShard, folder: str) -> list[DecidedShard]:
    """The decisions of an earlier run about `shard`, under `folder`; a pool task. Raises ValueError if they are not about this shard."""
    decided = DecidedShard(shard, decision_path(folder, shard.index), 0)
    try:
        reasons = read_decisions(decided, ["reason"])["reason"]
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{decided.path}: cannot be read ({error}); delete {folder}, and all is decided anew") from error
    if len(reasons) != shard.num_rows:
        raise ValueError(f"{decided.path}: decides about {len(reasons):,} documents, but {shard.name} holds {shard.num_rows:,}; delete {folder}")
    return [DecidedShard(shard, decided.path, reasons.null_count)]


def write_decisions(decisions: pa.Table, shard: ScoredShard, folder: str) -> DecidedShard:
    """Writes `decisions` for `shard` under `folder`, whole or not at all."""
    path = decision_path(folder, shard.index)
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with write_whole(path) as file, pa.ipc.new_file(file, DECISION_SCHEMA, options=options) as writer:
        # One batch: rows are then addressed by their place in it.
        for batch in decisions.combine_chunks().to_batches():
            writer.write_batch(batch)
    return DecidedShard(shard, path, decisions["reason"].null_count)
