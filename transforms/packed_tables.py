"""Small Arrow tables as one string of bytes, where what is shuffled has ids or other words in it (`packed_arrays` is for numbers alone)."""

from collections.abc import Iterable

import pyarrow as pa


def pack_table(table: pa.Table) -> bytes:
    """The table as an Arrow IPC stream: what a slice holds, not what its parent does."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(use_threads=False)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def unpack_tables(values: Iterable[bytes], schema: pa.Schema) -> pa.Table:
    """The tables packed by `pack_table`, one after the other; all must have `schema`, which tells the columns where there are none."""
    tables = [pa.ipc.open_stream(value).read_all() for value in values]
    return pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()
