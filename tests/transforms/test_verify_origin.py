"""The origin table of the design, row by row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records import ORIGIN_CODES, ORIGIN_NAMES, Origin
from transforms.verify_origin import verify_origin


@pytest.mark.parametrize(
    ("declared", "flagged", "becomes"),
    [
        (Origin.HUMAN, False, Origin.HUMAN),
        (Origin.HUMAN, True, Origin.DISPUTED),
        (Origin.SYNTHETIC, False, Origin.SYNTHETIC),
        (Origin.SYNTHETIC, True, Origin.SYNTHETIC),
        (Origin.UNKNOWN, True, Origin.SYNTHETIC),
        (Origin.UNKNOWN, False, Origin.PRESUMED_HUMAN),
    ],
)
def test_each_row_of_the_table(declared, flagged, becomes):
    verified = verify_origin(np.array([ORIGIN_CODES[declared]], np.uint8), np.array([flagged]))
    assert ORIGIN_NAMES[verified[0]] == becomes


@given(st.lists(st.tuples(st.sampled_from([Origin.HUMAN, Origin.SYNTHETIC, Origin.UNKNOWN]), st.booleans())))
def test_flagged_text_never_counts_as_human(rows):
    declared = np.array([ORIGIN_CODES[origin] for origin, _ in rows], np.uint8)
    flagged = np.array([flag for _, flag in rows], bool)
    verified = verify_origin(declared, flagged)
    human_like = np.isin(verified, (ORIGIN_CODES[Origin.HUMAN], ORIGIN_CODES[Origin.PRESUMED_HUMAN]))
    assert not (human_like & flagged).any()
    assert (verified[declared == ORIGIN_CODES[Origin.SYNTHETIC]] == ORIGIN_CODES[Origin.SYNTHETIC]).all()


def test_the_declared_codes_are_left_as_they_were():
    declared = np.array([ORIGIN_CODES[Origin.HUMAN]], np.uint8)
    verify_origin(declared, np.array([True]))
    assert declared[0] == ORIGIN_CODES[Origin.HUMAN]


def test_an_origin_that_nobody_can_declare_is_refused():
    with pytest.raises(ValueError, match="only declare human, synthetic or unknown"):
        verify_origin(np.array([ORIGIN_CODES[Origin.DISPUTED]], np.uint8), np.array([False]))
