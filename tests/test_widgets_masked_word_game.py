"""The game of notebook 09: what it hides, what it says of the model and of the score, and that nothing is injected."""

import random
import re
from types import SimpleNamespace

import ipywidgets
import matplotlib.pyplot as plt
import pytest
import torch

from course_lib import plotting, widgets
from course_lib.tokenizers import WordPieceTokenizer
from course_lib.widgets.display import VIEW, png
from course_lib.widgets.masked_word_game import GAP, hide_a_word
from tests.pictures import without_warnings

WORDS = ["bank", "raised", "rates", "again", "rain", "fell", "<", ">", "&", "b", ".", ",", "'", "t", "don", "##s"]
TOKENIZER = WordPieceTokenizer.from_vocab(
    {token: id for id, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
)
SENTENCES = ["Bank raised rates again.", "Rain, rain fell.", "Fell again <b>&.", "Unknown things."]


class Model:
    """Says "rates" wherever it is asked, then "rain" and so on; remembers what it was asked."""

    order = ("rates", "rain", "fell", "bank", "again")

    def __init__(self):
        self.asked = []

    def __call__(self, ids, selected):
        self.asked.append(ids[0].tolist())
        logits = torch.full((int(selected.sum()), TOKENIZER.vocab_size), -20.0)
        for rank, word in enumerate(self.order):
            logits[:, TOKENIZER.token_to_id(word)] = -float(rank)
        return SimpleNamespace(tokens=logits)


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def game(model):
    return widgets.MaskedWordGame(model, TOKENIZER, SENTENCES)


def rows(game):
    """(token, probability) of each row of the live table."""
    found = re.findall(r"<th[^>]*>(?:<b>)?(.*?)(?:</b>)?</th>.*?<td>([\d.]+)</td></tr>", game.bars.value)
    return [(token, float(p)) for token, p in found]


# ------------------------------------------------------------------------------------------ what is hidden


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sentence", SENTENCES[:3])
def test_a_whole_word_is_hidden_and_the_sentence_is_else_as_it_was(sentence, seed):
    gap = hide_a_word(sentence, TOKENIZER, random.Random(seed))
    hidden = sentence[len(gap.before) : len(sentence) - len(gap.behind)]
    assert gap.before + hidden + gap.behind == sentence
    assert hidden.lower() == gap.word and TOKENIZER.encode(hidden).tokens == [gap.word] and len(gap.word) > 1


@pytest.mark.parametrize("sentence", ["", "Unknown things.", "banks", "don't don't", "b b b", "., '"])
def test_pieces_single_letters_and_unknown_words_are_never_hidden(sentence):
    assert hide_a_word(sentence, TOKENIZER, random.Random(0)) is None


def test_a_seed_hides_the_same_words(model):
    texts = ["Bank raised rates again, rain fell."] * 20
    first, same, other = (widgets.MaskedWordGame(model, TOKENIZER, texts, seed=seed).gaps for seed in (1, 1, 2))
    assert first == same != other and len({gap.word for gap in first}) > 3


def test_sentences_without_a_word_and_long_ones_are_left_out(model, game):
    assert len(game.gaps) == 3
    at_most = {"most_tokens": 7}  # with [CLS] and [SEP] the three have 7, 7 and 8
    at_most = {"most_tokens": 7}  # with [CLS] and [SEP] the three have 7, 7 and 8
    short = widgets.MaskedWordGame(model, TOKENIZER, SENTENCES, **at_most)
    assert [(gap.before + gap.word + gap.behind).lower() for gap in short.gaps] == [
        sentence.lower() for sentence in SENTENCES[:2]
    ]


def test_no_sentence_is_refused(model):
    with pytest.raises(ValueError, match="none of the 1 sentences has a word to hide"):
        widgets.MaskedWordGame(model, TOKENIZER, ["Unknown things."])


# ------------------------------------------------------------------------------------------ the game


def test_the_model_is_asked_with_the_gap_once_for_each_sentence(game, model):
    assert model.asked == [], "the model is not asked before there is a guess"
    game.guess.value = "rain"
    game.sentence.value = 1
    game.sentence.value = 0
    (asked,) = model.asked
    tokens = [TOKENIZER.id_to_token(id) for id in asked]
    gap = game.gaps[0]
    before, behind = (TOKENIZER.encode(part).tokens for part in (gap.before, gap.behind))
    assert tokens == ["[CLS]", *before, "[MASK]", *behind, "[SEP]"]


def test_nothing_is_given_away_before_the_guess(game):
    assert GAP in game.gap.value and game.bars.value == ""
    assert "Which word is hidden?" in game.words.value and "The word is" not in game.words.value
    assert GAP not in game.words.value, "the sentence stands above"


def test_the_answer_is_the_models_five_best_and_the_true_word(game):
    game.guess.value = "no such word"
    expected = torch.tensor([0.0, -1, -2, -3, -4], dtype=torch.float64).softmax(0).tolist()
    assert [token for token, _ in rows(game)] == list(Model.order)
    assert [p for _, p in rows(game)] == pytest.approx(expected, abs=0.006)
    word = game.gaps[0].word
    assert f"<b>{word}</b>" in game.bars.value and game.bars.value.count("<b>") == (word in Model.order)
    assert f"The word is {word}." in game.words.value and GAP not in game.gap.value


def test_the_score_of_both_is_kept(game):
    you = models = 0
    for place, gap in enumerate(game.gaps):
        game.sentence.value = place
        game.guess.value = gap.word.upper() if place else "something"
        you, models = you + bool(place), models + (gap.word == "rates")
        assert game.text().endswith(f"Score after {place + 1}: you {you}, model {models}.")
    assert you == 2


def test_the_first_guess_counts(game):
    game.guess.value = "something"
    assert game.guess.disabled and game.check.disabled
    game.guess.value = game.gaps[0].word
    assert "Your guess: something, not the word" in game.text() and "you 0" in game.text()


def test_buttons_check_and_go_on_and_a_sentence_comes_back_with_its_guess(game):
    game.check.click()
    assert "No guess yet" in game.text(), "an empty field is no guess"
    game.guess.value = game.gaps[0].word
    game.next.click()
    assert game.sentence.value == 1 and game.guess.value == "" and not game.guess.disabled and game.bars.value == ""
    for _ in game.gaps[1:]:
        game.next.click()
    assert game.sentence.value == 0 and game.guess.value == game.gaps[0].word and game.bars.value


def test_markup_is_text(game):
    game.sentence.value = 2
    game.guess.value = "<img src=x onerror=alert(1)>"
    assert "<img" not in game.words.value + game.bars.value + game.gap.value
    assert "<b>" not in game.gap.value and "&lt;b&gt;" in game.gap.value


# ------------------------------------------------------------------------------------------ labels, static form


def test_controls_are_named_and_reached_by_keyboard(game):
    sentence, _, guess, buttons, words, _ = game.view.children
    assert [one.description for one in (sentence, guess, *buttons.children)] == [
        "sentence", "your guess", "Check my guess", "Next sentence",
    ]  # fmt: skip
    assert isinstance(guess, ipywidgets.Combobox) and set(guess.options) == {gap.word for gap in game.gaps}
    assert words is game.words and "aria-live" in words.value
    game.guess.value = "rain"
    assert "aria-label='the five best of the model'" in game.bars.value


@without_warnings
@pytest.mark.parametrize("place", range(3))
def test_static_form_and_no_figure_left_open(game, place):
    before = plt.get_fignums()
    game.sentence.value = place
    bundle = game._repr_mimebundle_()
    assert VIEW in bundle and bundle["text/plain"] == game.text()
    assert bundle["image/png"] == png(game.figure()), "two drawings of one state are the same bytes"
    (ax,) = game.figure().axes
    assert [label.get_text() for label in ax.get_yticklabels()] == list(Model.order)
    assert game.gaps[place].word in ax.get_xlabel()
    assert plt.get_fignums() == before
