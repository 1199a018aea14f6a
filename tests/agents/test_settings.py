import pytest

from teachback.agents.settings import LLMSettings, check_egress, is_loopback
from teachback.errors import EgressError, SettingError


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "::1", "[::1]"])
def test_addresses_of_this_machine_are_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1.evil.org", "localhost.evil.org", "10.0.0.1", "0.0.0.0", "example.org", ""])
def test_other_addresses_are_not(host):
    assert not is_loopback(host)


def test_a_user_in_the_url_does_not_pass_for_a_host():
    with pytest.raises(SettingError, match="user name or password") as caught:
        LLMSettings(base_url="http://127.0.0.1:secret@evil.org/v1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("policy", ["local-only", "zero-retention"])
def test_restricted_reports_go_to_this_machine_or_a_host_allowed_by_name(policy):
    check_egress(LLMSettings(base_url="http://[::1]:8000/v1"), policy)
    check_egress(LLMSettings(allow_egress_to=frozenset({"api.openai.com"})), policy)
    with pytest.raises(EgressError) as caught:
        check_egress(LLMSettings(allow_egress_to=frozenset({"openai.com"})), policy)
    assert "--allow-egress-to api.openai.com" in caught.value.remedy


def test_an_unknown_policy_is_refused_even_on_this_machine():
    with pytest.raises(SettingError, match="anything"):
        check_egress(LLMSettings(base_url="http://localhost/v1"), "anything")


def test_the_environment_is_read_and_what_is_given_goes_before_it():
    env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://gpu:8000/v1", "TEACHBACK_LLM_MODEL": "llama"}
    settings = LLMSettings.from_env(env, model=None, concurrency=3)
    assert (settings.api_key, settings.base_url, settings.model, settings.concurrency) == (
        "k",
        "http://gpu:8000/v1",
        "llama",
        3,
    )
    assert LLMSettings.from_env(env, model="other").model == "other"
    assert LLMSettings.from_env({}).model == "gpt-4o"
    assert LLMSettings.from_env({}).is_openai


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host/v1", "http://"])
def test_what_is_no_base_url_is_said(url):
    with pytest.raises(SettingError, match="base URL"):
        LLMSettings(base_url=url)
