"""The live quiz: choosing shows the explanation, and all right counts once."""

from course_lib.exercises import QUIZZES
from course_lib.widgets.quiz import Quiz


def answered(questions, indexes):
    passed = []
    quiz = Quiz(questions, on_passed=lambda: passed.append(True))
    for choice, index in zip(quiz.choices, indexes, strict=True):
        choice.index = index
    return quiz, passed


def test_all_right_passes():
    questions = QUIZZES["00"]
    quiz, passed = answered(questions, [question.right for question in questions])
    assert passed == [True] and quiz.score.value == "5 of 5 right"
    quiz.choices[0].index = (questions[0].right + 1) % 3
    assert quiz.score.value == "4 of 5 right"
    quiz.choices[0].index = questions[0].right
    assert quiz.score.value == "5 of 5 right"


def test_each_choice_explains_itself():
    questions = QUIZZES["00"]
    quiz, passed = answered(questions, [0] * 5)
    assert passed == []
    for number, question in enumerate(questions):
        sign = "Right." if question.right == 0 else "Not this one."
        assert sign in quiz.explanations[number].value
    quiz.choices[0].index = None
    assert "Not this one." in quiz.explanations[0].value


def test_nothing_is_chosen_at_first():
    quiz, _ = answered(QUIZZES["00"], [None] * 5)
    assert all(explanation.value == "" for explanation in quiz.explanations)
    assert quiz.score.value == "0 of 5 right"


def test_no_choice_shows_the_marks_of_code():
    for questions in QUIZZES.values():
        for choice in answered(questions, [None] * len(questions))[0].choices:
            assert "`" not in "".join(choice.options), choice.options
