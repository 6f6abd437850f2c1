"""Explorer of beam search: its tree, step by step, for several widths and length penalties."""

from collections.abc import Mapping, Sequence

import ipywidgets
from matplotlib.figure import Figure

from .. import plotting
from ..decoding import BeamResult, Node
from .display import Explorer


class BeamTree(Explorer):
    """Sliders for the step, the number of beams and the length penalty of searches that were recorded before.

    `searches` maps (num_beams, length_penalty) to the result of `decoding.beam_search` with them, for every pair of a
    number and a penalty that occurs; `words` holds the text of each token. Nothing is searched when a slider moves.
    Raises ValueError where a pair is missing, or without searches.
    """

    def __init__(self, searches: Mapping[tuple[int, float], BeamResult], words: Sequence[str]) -> None:
        super().__init__(width="800px")
        if not searches:
            raise ValueError("searches is empty: record at least one, {(num_beams, length_penalty): result}")
        beams, penalties = (sorted({key[i] for key in searches}) for i in (0, 1))
        missing = [(beam, penalty) for beam in beams for penalty in penalties if (beam, penalty) not in searches]
        if missing:
            raise ValueError(f"there is no search for (num_beams, length_penalty) = {missing[0]}: record every pair")
        self._searches, self._words = dict(searches), tuple(words)
        self._steps = max(node.step for result in searches.values() for node in result.tree)
        wide = {"style": {"description_width": "8em"}, "layout": ipywidgets.Layout(width="36em", max_width="100%")}
        self.step = ipywidgets.IntSlider(value=self._steps, min=0, max=self._steps, description="step", **wide)
        self.num_beams = ipywidgets.SelectionSlider(
            options=beams, value=beams[len(beams) // 2], description="num_beams", **wide
        )
        self.length_penalty = ipywidgets.SelectionSlider(options=penalties, description="length_penalty", **wide)
        controls = (self.step, self.num_beams, self.length_penalty)
        for control in controls:
            control.observe(self.redraw, names="value")
        self.view = ipywidgets.VBox([*controls, self.picture, self.words])
        self.remember(self.num_beams, beams)  # at the last step, with the whole trees

    def frame(self) -> Figure:
        """Axes for the tree."""
        figure = Figure(figsize=(9.0, 4.6), dpi=100, layout="none")
        figure.add_axes((0.02, 0.08, 0.96, 0.82))
        return figure

    def fill(self, figure: Figure) -> None:
        """The tree up to the chosen step; at the end of the search, the path of the best hypothesis is thick."""
        (ax,) = figure.axes
        result, is_over = self._result(), self._is_over()
        title = f"num_beams = {self.num_beams.value}, length_penalty = {self.length_penalty.value}"
        best = _last_node(result).id if is_over else None
        plotting.beam_tree(result.tree, self._words, until=self.step.value, best=best, ax=ax, title=title)

    def text(self) -> str:
        """What this step kept, finished and dropped, and the best hypothesis once the search is over."""
        result, step = self._result(), self.step.value
        nodes = sorted((node for node in result.tree if node.step == step), key=lambda node: -node.total)
        said = [f"Step {step} of {max(node.step for node in result.tree)}"]
        if step == 0:
            said.append("nothing has been predicted yet")
        elif not nodes:
            said.append("the search is over")
        for state in ("kept", "finished", "dropped"):
            found = [f"{self._sentence(node)} ({node.total:.2f})" for node in nodes if node.state == state]
            if found:
                said.append(f"{state}: {', '.join(found)}")
        if self._is_over():
            best = result.best
            said.append(
                f"best: {' '.join(self._words[token] for token in best.ids)}, log-probability {best.log_prob:.2f}, "
                f"score {best.score:.2f}"
            )
        return ". ".join(said)

    def _result(self) -> BeamResult:
        return self._searches[self.num_beams.value, self.length_penalty.value]

    def _is_over(self) -> bool:
        return self.step.value >= max(node.step for node in self._result().tree)

    def _sentence(self, node: Node) -> str:
        tree, words = self._result().tree, []
        while True:
            words.append(self._words[node.token])
            if node.parent < 0:
                return " ".join(reversed(words))
            node = tree[node.parent]


def _last_node(result: BeamResult) -> Node:
    """The node that ends the best hypothesis."""
    for node in result.tree:
        if node.state == "finished" and node.step == len(result.best.ids) and _ids(result, node) == result.best.ids:
            return node
    raise LookupError("the tree does not hold the best hypothesis: pass tree and hypotheses of the same search")


def _ids(result: BeamResult, node: Node) -> tuple[int, ...]:
    parent = () if node.parent < 0 else _ids(result, result.tree[node.parent])
    return (*parent, node.token)
