"""The figures of the course: arrays in, `matplotlib` Axes out, one style that is safe for colour-blind readers.

Every function takes whatever `numpy.asarray` can take (lists, arrays, torch tensors after `.detach()`), draws on
`ax` or on a new figure of its own, and returns the Axes. Nothing is shown, saved or printed here: a notebook shows
its figures, and prints the numbers behind them.

An image is nothing to those who cannot see it: each docstring has a line "Alt text" with a pattern for the text
to put beside the figure. The title should state what there is to see.

Colours are never alone: markers, line styles, hatching, numbers or words say the same.
"""

from .architecture import architecture
from .arrows import attention_arrows
from .base import (
    BLACK,
    BLUE,
    COLOURS,
    GREEN,
    LINE_STYLES,
    MARKERS,
    ORANGE,
    SCORES_COLOURMAP,
    SKY,
    VERMILLION,
    WEIGHTS_COLOURMAP,
    figure_title,
    use_course_style,
)
from .beams import Candidate, beam_tree
from .charts import Bins, bars, curves, reliability
from .head_grid import head_grid
from .heatmaps import heatmap
from .next_tokens import next_tokens
from .pieces import token_pieces
from .products import matrix_product

__all__ = [
    "BLACK",
    "BLUE",
    "COLOURS",
    "GREEN",
    "LINE_STYLES",
    "MARKERS",
    "ORANGE",
    "SCORES_COLOURMAP",
    "SKY",
    "VERMILLION",
    "WEIGHTS_COLOURMAP",
    "Bins",
    "Candidate",
    "architecture",
    "attention_arrows",
    "bars",
    "beam_tree",
    "curves",
    "figure_title",
    "head_grid",
    "heatmap",
    "matrix_product",
    "next_tokens",
    "reliability",
    "token_pieces",
    "use_course_style",
]
