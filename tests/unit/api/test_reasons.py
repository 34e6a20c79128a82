"""The closed lists of reasons, condition types and event reasons."""

import re

import pytest

from lockstep.api.reasons import ConditionType, EventReason, Reason

EVERY = [*ConditionType, *Reason, *EventReason]


@pytest.mark.parametrize("word", EVERY, ids=str)
def test_a_word_is_camel_case_named_after_itself_and_explained_by_one_sentence(word: Reason) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z]{2,62}", word)
    assert word.name.replace("_", "").lower() == word.lower()
    assert re.fullmatch(r"([A-Z]|spec\.)[^\n]+\.", word.sentence)


@pytest.mark.parametrize("kind", [ConditionType, Reason, EventReason])
def test_a_word_is_found_by_its_value_and_keeps_its_sentence(kind: type[Reason]) -> None:
    for word in kind:
        assert kind(str(word)) is word
        assert kind(str(word)).sentence
    with pytest.raises(ValueError, match="NoSuchWord"):
        kind("NoSuchWord")


def test_no_two_reasons_say_the_same() -> None:
    sentences = [reason.sentence for reason in Reason]
    assert len(set(sentences)) == len(sentences)
