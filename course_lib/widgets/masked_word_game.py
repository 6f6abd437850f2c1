"""Game: guess the hidden word of a news sentence, and see what a masked language model would have put there."""

import html
import random
import re
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from .. import plotting
from ..tokenizers import WordPieceTokenizer
from .display import Explorer, bar_table

GAP = "▢"
_SHOWN = 5


class Gap(NamedTuple):
    """A sentence with one word hidden: the text before it and behind it, and the word as the vocabulary spells it."""

    before: str
    word: str
    behind: str


class MaskedWordGame(Explorer):
    """A list of sentences, a field for your guess, and two buttons; below, the model's five best and the score.

    In each sentence one word is hidden, drawn among those that are a single token of the vocabulary. You guess first;
    then the model's probabilities and the true word are shown. One point goes to whoever has named the word:
    you with your one guess, the model with its most probable token. The first guess at a sentence counts.

    Args:
        model: from ids `[1, length]` and `selected`, boolean `[1, length]`, to an output with `tokens`
            `[selected positions, vocab_size]`, such as `bert.BertForPreTraining`.
        tokenizer: its WordPiece tokenizer.
        sentences: sentences that the model has not been trained on. Those without a word that can be hidden, and
            those of more than `most_tokens` tokens, are left out.
        most_tokens: length of the longest sentence, with [CLS] and [SEP].
        seed: of the choice of words; the same seed hides the same words.

    Raises ValueError where no sentence is left.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: WordPieceTokenizer,
        sentences: Sequence[str],
        most_tokens: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(width="640px")
        self._model, self._tokenizer = model, tokenizer
        chance = random.Random(seed)
        short = [sentence for sentence in sentences if len(tokenizer.encode(sentence)) + 2 <= most_tokens]
        self.gaps = [gap for sentence in short if (gap := hide_a_word(sentence, tokenizer, chance))]
        if not self.gaps:
            raise ValueError(f"none of the {len(sentences)} sentences has a word to hide: pass whole, short sentences")
        self._guesses: dict[int, str] = {}  # place of the sentence -> the first guess at it
        self._answers: dict[int, Tensor] = {}
        style = {"description_width": "7em"}
        self.sentence = ipywidgets.Dropdown(
            options=[(f"{place + 1} of {len(self.gaps)}", place) for place in range(len(self.gaps))],
            value=0,
            description="sentence",
            style=style,
        )
        self.guess = ipywidgets.Combobox(  # a field for typing that offers the hidden words of all sentences
            options=sorted({gap.word for gap in self.gaps}),
            placeholder="type a word or pick one",
            description="your guess",
            continuous_update=False,
            style=style,
        )
        self.check = ipywidgets.Button(description="Check my guess", button_style="primary")
        self.next = ipywidgets.Button(description="Next sentence")
        self.gap = ipywidgets.HTML()
        self.bars = ipywidgets.HTML()
        self.sentence.observe(self._start, names="value")
        self.guess.observe(self._take_guess, names="value")  # at Enter, or when the field is left
        self.check.on_click(self._take_guess)
        self.next.on_click(self._go_on)
        buttons = ipywidgets.HBox([self.check, self.next])
        self.view = ipywidgets.VBox([self.sentence, self.gap, self.guess, buttons, self.words, self.bars])
        self.redraw()

    def figure(self) -> Figure:
        """The model's five best for the present gap, the true word in the second colour."""
        gap = self.gaps[self.sentence.value]
        figure = Figure(figsize=(7.2, 3.1), dpi=100, layout="constrained")
        best = self.best()
        names = [token for token, _ in best]
        highlight = names.index(gap.word) if gap.word in names else None
        ax = plotting.bars([p for _, p in best], names, highlight=highlight, ax=figure.subplots())
        ax.set_xlabel(f"probability (the hidden word is '{gap.word}')")
        ax.set_title(textwrap.fill(_sentence(gap), 95), parse_math=False, fontsize=10)
        return figure

    def text(self) -> str:
        """The sentence with its gap; once you have guessed, the answer; and the score."""
        place = self.sentence.value
        gap, score = self.gaps[place], self._score()
        if place not in self._guesses:
            return f"{_sentence(gap)} {_asks(score)}"
        best = self.best()
        you = "right" if self._is_right(place) else "not the word"
        model = f"{best[0][0]}, {'right' if best[0][0] == gap.word else 'not the word'}"
        return f"The word is {gap.word}. Your guess: {self._guesses[place]}, {you}. The model's: {model}. {score}"

    def best(self, place: int | None = None) -> list[tuple[str, float]]:
        """The model's most probable tokens for a gap, the present one by default, with their probabilities."""
        place = self.sentence.value if place is None else place
        if place not in self._answers:
            self._answers[place] = self._asked(self.gaps[place])
        p, ids = self._answers[place].topk(_SHOWN)
        return [(self._tokenizer.id_to_token(id), value) for id, value in zip(ids.tolist(), p.tolist(), strict=True)]

    def redraw(self, *_change: Any) -> None:
        """Show the present sentence, and the answer to it where there has been a guess."""
        place = self.sentence.value
        gap, has_guessed = self.gaps[place], place in self._guesses
        shown = f"<mark>{html.escape(gap.word) if has_guessed else GAP}</mark>"
        self.gap.value = (
            f"<p role='status' aria-live='polite'>{html.escape(gap.before)}{shown}{html.escape(gap.behind)}</p>"
        )
        said = self.text() if has_guessed else _asks(self._score())
        self.words.value = f"<p role='status' aria-live='polite'>{html.escape(said)}</p>"
        self.bars.value = self._bars(gap) if has_guessed else ""
        self.check.disabled = has_guessed
        self.guess.disabled = has_guessed

    def _bars(self, gap: Gap) -> str:
        best = self.best()
        right = next((row for row, (token, _) in enumerate(best) if token == gap.word), None)
        return bar_table(best, "the five best of the model", right)

    def _start(self, *_change: Any) -> None:
        self.guess.value = self._guesses.get(self.sentence.value, "")
        self.redraw()

    def _take_guess(self, *_change: Any) -> None:
        guess = " ".join(self.guess.value.split()).lower()
        if guess and self.sentence.value not in self._guesses:
            self._guesses[self.sentence.value] = guess
            self.redraw()

    def _go_on(self, *_change: Any) -> None:
        self.sentence.value = (self.sentence.value + 1) % len(self.gaps)

    def _score(self) -> str:
        if not self._guesses:
            return "No guess yet."
        yours = sum(map(self._is_right, self._guesses))
        models = sum(self.best(place)[0][0] == self.gaps[place].word for place in self._guesses)
        return f"Score after {len(self._guesses)}: you {yours}, model {models}."

    def _is_right(self, place: int) -> bool:
        """Case and accents do not count, as they do not to the vocabulary."""
        return self._tokenizer.encode(self._guesses[place]).tokens == [self.gaps[place].word]

    @torch.no_grad()
    def _asked(self, gap: Gap) -> Tensor:
        """The model's probabilities `[vocab_size]` for the gap."""
        before, behind = (self._tokenizer.encode(part).ids for part in (gap.before, gap.behind))
        cls, sep, mask = (self._tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[MASK]"))
        ids = torch.tensor([[cls, *before, mask, *behind, sep]])
        return self._model(ids, selected=ids == mask).tokens[0].double().softmax(-1)


def hide_a_word(sentence: str, tokenizer: WordPieceTokenizer, chance: random.Random, fewest: int = 2) -> Gap | None:
    """Hide a word that is one token and has at least `fewest` letters, drawn by `chance`; None where there is none."""
    encoding = tokenizer.encode(sentence)
    found = [
        (token, start, end)
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True)
        if token.isalpha()
        and len(token) >= fewest
        # The whole word: no letter goes on before it or behind it, as with pieces and with "don't".
        and not re.search(r"[\w']$", sentence[:start])
        and not re.match(r"[\w']", sentence[end:])
    ]
    if not found:
        return None
    token, start, end = chance.choice(found)
    return Gap(sentence[:start], token, sentence[end:])


def _sentence(gap: Gap) -> str:
    return gap.before + GAP + gap.behind


def _asks(score: str) -> str:
    return f"Which word is hidden? {score}"
