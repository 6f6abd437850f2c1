"""Playground of tokenizers: type a text and see its pieces, ids and offsets, from several tokenizers side by side."""

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets
from matplotlib.figure import Figure

from .. import plotting
from ..tokenizers import BPETokenizer, Encoding, WordPieceTokenizer
from .display import Explorer

EXAMPLES = {
    "a sentence": "BERT is a revolutionary model for NLP tasks.",
    "one word in many forms": "token tokens tokenize tokenizer untokenizable",
    "spaces": "cat  cat   cat ",
    "numbers": "7 12 1984 1985 3.14159 1,000,000",
    "accents and case": "Zürich ZÜRICH Zu\u0308rich naïve café",
    "other scripts": "Ωμέγα привет 中文 日本語 한국어 नमस्ते مرحبا",
    "emoji": "👍 👍🏽 👩‍👩‍👧‍👦 🇫🇷",
    "special tokens in the text": "[MASK] and <|endoftext|> are found as they stand",
    "a program": "def f(x):\n    return x + 1",
}

_BOX = (
    "display:inline-block;margin:2px 1px;padding:1px 6px;border:1px solid #6B6B6B;border-radius:3px;text-align:center;"
    "color:#1A1A1A"
)
_FACES = ("#E3EEF6", "#FFFFFF")


class TokenizerPlayground(Explorer):
    """A text field and a list of examples; below, the pieces of each tokenizer with their ids and offsets.

    The pieces are drawn by the page, so that every script has its letters; the static figure, in the figures' one
    typeface, writes letters that it lacks as code points. Raises ValueError without a tokenizer.
    """

    def __init__(
        self, tokenizers: Mapping[str, BPETokenizer | WordPieceTokenizer], text: str = EXAMPLES["a sentence"]
    ) -> None:
        super().__init__(width="960px")
        if not tokenizers:
            raise ValueError("there is no tokenizer to play with: pass at least one, by its name")
        self.tokenizers = dict(tokenizers)
        wide = {"style": {"description_width": "5em"}, "layout": ipywidgets.Layout(width="60em", max_width="100%")}
        self.example = ipywidgets.Dropdown(
            options=[("choose one", ""), *EXAMPLES.items()], value="", description="example", **wide
        )
        self.input = ipywidgets.Textarea(value=text, description="text", rows=2, **wide)
        self.pieces = ipywidgets.HTML()
        self.example.observe(self._take_example, names="value")
        self.input.observe(self.redraw, names="value")
        self.view = ipywidgets.VBox([self.example, self.input, self.words, self.pieces])
        self.redraw()

    def figure(self) -> Figure:
        """One row of boxes for each tokenizer, the id below each piece."""
        encodings = {name: encoding for name, encoding in self._encodings().items() if encoding.tokens}
        rows = {name: encoding.tokens for name, encoding in encodings.items()}
        figure = Figure(figsize=(9.8, 1.2), dpi=100, layout="constrained")
        ax = figure.subplots()
        if not rows:
            ax.axis("off")
            ax.text(0.5, 0.5, "no tokens", ha="center")
            return figure
        plotting.token_pieces(rows, notes={name: encoding.ids for name, encoding in encodings.items()}, ax=ax)
        figure.set_figheight(max(1.2, ax.get_ylim()[0] / 72 + 0.15))
        return figure

    def text(self) -> str:
        """How many tokens each tokenizer makes of the text, and how many characters a token holds."""
        characters = len(self.input.value)
        counts = []
        for name, encoding in self._encodings().items():
            unknown = encoding.tokens.count("[UNK]")
            each = f", {characters / len(encoding):.1f} characters each" if len(encoding) else ""
            lost = f", {unknown} of them [UNK]" if unknown else ""
            counts.append(f"{name} {len(encoding)} tokens{each}{lost}")
        return f"{characters} characters. " + "; ".join(counts)

    def redraw(self, *_change: Any) -> None:
        """Show the pieces of the present text in the live widget."""
        self.words.value = f"<p role='status' aria-live='polite'>{html.escape(self.text())}</p>"
        self.pieces.value = "".join(
            f"<h4 style='margin:8px 0 2px'>{html.escape(name)}</h4>{self._boxes(encoding)}"
            for name, encoding in self._encodings().items()
        )

    def _encodings(self) -> dict[str, Encoding]:
        return {name: tokenizer.encode(self.input.value) for name, tokenizer in self.tokenizers.items()}

    def _boxes(self, encoding: Encoding) -> str:
        """A list of boxes: the piece, its id, and the characters that it stands for, on hovering as well."""
        boxes = []
        for i, (token, id, (start, end)) in enumerate(
            zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True)
        ):
            original = html.escape(repr(self.input.value[start:end]), quote=True)
            boxes.append(
                f"<li style='{_BOX};background:{_FACES[i % 2]}' title='characters {start} to {end}: {original}'>"
                f"<code style='background:none;color:inherit'>{html.escape(token)}</code><br>"
                f"<small>{id}</small><br><small>{start}-{end}</small></li>"
            )
        return f"<ol style='list-style:none;margin:0;padding:0;line-height:1.35'>{''.join(boxes)}</ol>"

    def _take_example(self, change: Any) -> None:
        if change["new"]:
            self.input.value = change["new"]
