"""The columns of `classifiers.contamination`, apart from its kernels: whoever decides by them compiles nothing."""

import pyarrow as pa

NGRAMS, SHARE, BY = "contaminated_ngrams", "contaminated_share", "contaminated_by"
FIELDS = pa.schema([(NGRAMS, pa.int32()), (SHARE, pa.float32()), (BY, pa.string())])
"""Different n-grams of evaluation sets in the text; the largest share of one item's that it holds, 0..1; `SET/ID` of that item, or null."""
