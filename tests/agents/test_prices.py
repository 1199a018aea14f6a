import pytest

from teachback.agents.prices import load_prices
from teachback.errors import SettingError


def test_a_call_costs_its_fresh_cached_and_returned_tokens():
    # gpt-4o: 600 fresh at 2.50, 400 cached at 1.25, 200 returned at 10 USD per million
    # = (1500 + 500 + 2000) / 1e6 = 0.004
    assert load_prices().cost_usd("gpt-4o", 1000, 400, 200) == pytest.approx(0.004)


def test_a_dated_snapshot_takes_the_undated_price_unless_it_is_listed():
    prices = load_prices()
    assert prices.price_of("gpt-4o-2031-01-01") == prices.price_of("gpt-4o")
    assert prices.price_of("gpt-4o-2024-05-13").input == 5.0
    assert prices.price_of("gpt-4o-audio") is None
    assert prices.cost_usd("unheard-of", 1, 0, 1) is None
    assert prices.cost_usd("stand-in", 10**6, 0, 10**6) == 0.0


def test_a_list_of_ones_own_replaces_the_shipped_one(tmp_path):
    own = tmp_path / "prices.yaml"
    own.write_text("as_of: 2027-01-01\nmodels:\n  mine: {input: 1, cached: 1, output: 1}\n")
    prices = load_prices(own)
    assert prices.as_of == "2027-01-01"
    assert prices.price_of("gpt-4o") is None


@pytest.mark.parametrize("text", ["", "models: {}", "as_of: x\nmodels: {m: {input: -1, cached: 0, output: 0}}", ":\n:"])
def test_what_is_no_price_list_is_named(tmp_path, text):
    own = tmp_path / "prices.yaml"
    own.write_text(text)
    with pytest.raises(SettingError, match=r"prices\.yaml"):
        load_prices(own)
