"""What the tests of every notebook's exercises ask of a judge."""

from course_lib.exercises import judge


def rejected(id, answer, misconception, word=""):
    """The judge names this misconception, in a message that has `word` in it; returns the message."""
    verdict = judge(id, answer)
    assert (verdict.passed, verdict.misconception) == (False, misconception), verdict.message
    assert word in verdict.message
    return verdict.message


def accepted(id, answer):
    """The judge lets this answer pass."""
    verdict = judge(id, answer)
    assert verdict.passed, verdict.message
