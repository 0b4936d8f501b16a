"""How many rows may break a rule before nothing of an entity is loaded."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import Consequence, load_contract
from pipeline.quality import RuleBrokenError, check_limits, only_warns

CUSTOMERS = load_contract("customers")


def contract(**consequences):
    return replace(CUSTOMERS, consequences=consequences)


def test_without_a_limit_every_row_may_be_bad():
    check_limits({"bad_email:email": 10, "missing_value:email": 90}, 100, contract())


def test_the_limit_itself_may_be_reached():
    limited = contract(bad_email=Consequence(fail_above=5))
    check_limits({"bad_email:email": 5}, 100, limited)
    with pytest.raises(RuleBrokenError, match=r"6 of 100 rows break rule bad_email, more than the 5 %"):
        check_limits({"bad_email:email": 6}, 100, limited)


def test_every_rule_that_is_broken_too_often_is_told():
    limited = contract(bad_email=Consequence("warning", 0.5), bad_phone=Consequence("fail"))
    with pytest.raises(RuleBrokenError) as caught:
        check_limits({"bad_email:email": 2, "bad_phone:phone": 1, "bad_country:country": 9}, 200, limited)
    assert "2 of 200 rows break rule bad_email, more than the 0.5 %" in str(caught.value)
    assert "1 of 200 rows break rule bad_phone, and none may" in str(caught.value)
    assert "bad_country" not in str(caught.value)


def test_a_limit_holds_for_all_columns_of_a_rule_together_or_for_one_column():
    both = {"missing_value:email": 3, "missing_value:phone": 3}
    check_limits(both, 100, contract(**{"missing_value:email": Consequence(fail_above=3)}))
    with pytest.raises(
        RuleBrokenError, match="3 of 100 rows break rule missing_value:email, more than the 2 %"
    ):
        check_limits(both, 100, contract(**{"missing_value:email": Consequence(fail_above=2)}))
    with pytest.raises(RuleBrokenError, match="6 of 100 rows break rule missing_value, more than the 5 %"):
        check_limits(both, 100, contract(missing_value=Consequence(fail_above=5)))


def test_a_rule_that_only_warns_does_not_do_so_for_what_silver_cannot_do_without():
    lenient = contract(missing_value=Consequence("warning"), malformed_timestamp=Consequence("warning"))
    assert only_warns("missing_value:email", lenient)
    assert not only_warns("missing_value:updated_at", lenient)
    assert not only_warns("malformed_timestamp:updated_at", lenient)
    assert not only_warns("bad_email:email", lenient)


@given(st.integers(0, 1000), st.integers(1, 1000), st.floats(0, 100))
def test_a_load_stops_exactly_when_the_share_is_above_the_limit(rows, read, percent):
    limited = contract(bad_email=Consequence(fail_above=percent))
    if rows > read * percent / 100:
        with pytest.raises(RuleBrokenError):
            check_limits({"bad_email:email": rows}, read, limited)
    else:
        check_limits({"bad_email:email": rows}, read, limited)
