"""The evaluator that the access tests rest on is itself tested: it denies by default, deny wins, and it never guesses."""

import pytest

from tests.infra.iam import Request, is_allowed

ALLOW = {"Statement": [{"Effect": "Allow", "Action": ["s3:Get*"], "Resource": ["arn:aws:s3:::b/data/*"]}]}
READ = Request("arn:role/me", "s3:GetObject", "arn:aws:s3:::b/data/x")


def statement(effect: str, **more: object) -> dict[str, object]:
    return {"Statement": [{"Effect": effect, "Principal": {"AWS": "*"}, "Action": "s3:*", "Resource": "*", **more}]}


def test_what_no_policy_allows_is_denied():
    assert not is_allowed(READ, identity=[])
    assert not is_allowed(Request(READ.principal, "s3:PutObject", READ.resource), identity=[ALLOW])
    assert not is_allowed(Request(READ.principal, READ.action, "arn:aws:s3:::b/other/x"), identity=[ALLOW])


def test_a_wildcard_matches_actions_without_regard_to_case_and_resources_with_it():
    assert is_allowed(READ, identity=[ALLOW])
    assert is_allowed(Request(READ.principal, "S3:getobject", READ.resource), identity=[ALLOW])
    assert not is_allowed(Request(READ.principal, READ.action, "arn:aws:s3:::b/DATA/x"), identity=[ALLOW])


def test_a_deny_wins_over_every_allow():
    assert not is_allowed(READ, identity=[ALLOW], resource=[statement("Deny")])


def test_a_condition_on_a_key_that_the_call_does_not_have_fails_unless_it_says_if_exists():
    strict = statement("Deny", Condition={"StringEquals": {"s3:prefix": "x"}})
    lenient = statement("Deny", Condition={"StringEqualsIfExists": {"s3:prefix": "x"}})
    assert is_allowed(READ, identity=[ALLOW], resource=[strict])
    assert not is_allowed(READ, identity=[ALLOW], resource=[lenient])


def test_a_negated_condition_holds_for_a_key_that_the_call_does_not_have():
    other_key = statement("Deny", Condition={"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}})
    assert not is_allowed(READ, identity=[ALLOW], resource=[other_key])


def test_null_asks_whether_the_key_is_there():
    missing = statement("Deny", Condition={"Null": {"s3:if-none-match": "true"}})
    assert not is_allowed(READ, identity=[ALLOW], resource=[missing])
    given = Request(READ.principal, READ.action, READ.resource, {"s3:if-none-match": "*"})
    assert is_allowed(given, identity=[ALLOW], resource=[missing])


def test_all_conditions_of_a_statement_must_hold():
    both = statement("Deny", Condition={"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}})
    assert is_allowed(READ, identity=[ALLOW], resource=[both])


def test_a_bracket_in_a_policy_is_a_bracket():
    odd = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/[ab]*"}]}
    assert is_allowed(Request("me", "s3:GetObject", "arn:aws:s3:::b/[ab]c"), identity=[odd])
    assert not is_allowed(Request("me", "s3:GetObject", "arn:aws:s3:::b/ac"), identity=[odd])


@pytest.mark.parametrize("unknown", [{"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, {"NotAction": "s3:GetObject"}])
def test_what_the_evaluator_does_not_know_is_an_error(unknown: dict[str, object]):
    with pytest.raises(ValueError, match="does not know"):
        is_allowed(READ, identity=[ALLOW], resource=[statement("Deny", **unknown)])
