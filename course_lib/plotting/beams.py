"""The candidates of a beam search as a tree."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes

from .base import _EMPTY, _FRAME, _INK, _MUTED, BLUE, GREEN, VERMILLION, _new_axes, _number, _set_title


class Candidate(Protocol):
    """What `beam_tree` draws, such as `decoding.Node`: one continuation that a beam search looked at."""

    id: int
    parent: int
    step: int
    token: int
    total: float
    state: str


# Of each state: face colour, edge colour, edge width, edge style, and the sign before the word.
_BEAM_STATES = {
    "kept": ("#D9E8F2", BLUE, 1.8, "-", ""),
    "finished": ("#DDF0E8", GREEN, 1.8, "-", "■ "),
    "dropped": ("white", _MUTED, 0.9, "--", "× "),
}


def beam_tree(
    tree: Sequence[Candidate],
    words: Sequence[str],
    *,
    until: int | None = None,
    best: int | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the candidates of a beam search: one column for each step, the most probable on top.

    Kept candidates have a full frame, dropped ones a dashed frame and a ×, finished ones a ■. Below each word stands
    the log-probability of the sequence that ends there.

    Alt text: "Beam search tree: step 1 keeps <word> <number> and <word> <number>; step 2 keeps ...; <word> ends ..."

    Args:
        tree: the nodes of one search; `words` holds the text of each token.
        until: last step that is drawn; None draws all. Columns have the same places whatever it is.
        best: id of the node that ends the best hypothesis; the path to it is drawn thick.

    Raises:
        ValueError: an empty tree, a token without a word, or a state that is not known.
    """
    if not tree:
        raise ValueError("the tree has no nodes to draw")
    steps = max(node.step for node in tree)
    columns = [[node for node in tree if node.step == step] for step in range(1, steps + 1)]
    rows = max(map(len, columns))
    for node in tree:
        if not 0 <= node.token < len(words):
            raise ValueError(f"token {node.token} of node {node.id} has no word: there are {len(words)}")
        if node.state not in _BEAM_STATES:
            raise ValueError(f"state {node.state!r} of node {node.id} is not one of {', '.join(_BEAM_STATES)}")
    ax = _new_axes(ax, 1.2 + 1.75 * steps, 0.7 + 0.62 * rows)
    places = {-1: (0.0, (rows - 1) / 2)}
    for step, column in enumerate(columns, start=1):
        ranked = sorted(column, key=lambda node: (-node.total, node.id))
        places |= {node.id: (step, rank) for rank, node in enumerate(ranked)}
    path, by_id = set(), {node.id: node for node in tree}
    while best is not None and best >= 0:
        path.add(best)
        best = by_id[best].parent
    box = {"ha": "center", "va": "center", "fontsize": 9, "parse_math": False, "zorder": 3}
    ax.text(*places[-1], "start", bbox={"boxstyle": "round,pad=0.35", "fc": _EMPTY, "ec": _MUTED}, **box)
    for node in tree:
        if until is not None and node.step > until:
            continue
        face, edge, width, line, sign = _BEAM_STATES[node.state]
        on_path = node.id in path
        (x0, y0), (x1, y1) = places[node.parent], places[node.id]
        colour = VERMILLION if on_path else _FRAME if node.state == "dropped" else edge
        ax.plot([x0, x1], [y0, y1], linestyle=line, linewidth=3 if on_path else 1, color=colour, zorder=1)
        label = f"{sign}{words[node.token]}\n{_number(node.total, 2)}"
        frame = {"boxstyle": "round,pad=0.3", "fc": face, "ec": edge, "lw": width, "ls": line}
        ax.text(x1, y1, label, color=_MUTED if node.state == "dropped" else _INK, bbox=frame, **box)
    ax.set(xlim=(-0.45, steps + 0.5), ylim=(rows - 0.4, -0.6), yticks=[], xticks=range(1, steps + 1))
    ax.set_xticklabels([f"step {step}" for step in range(1, steps + 1)])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    _set_title(ax, title)
    return ax
