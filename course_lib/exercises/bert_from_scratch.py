"""Notebook 09: pairs and segments, masking, whole words, the two losses' examples, and a BERT to repair."""

import itertools
import math
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, close, compare, function, number, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.bert_from_scratch"
_CLS, _SEP, _MASK = 101, 102, 103


def _parts(value: Any, n: int, what: str) -> tuple:
    """The answer's `n` results, whatever sequence they come in."""
    reject_if(
        not isinstance(value, tuple | list) or len(value) != n,
        f"{n} things are asked for, {what}; yours is of type {type(value).__name__}",
        "wrong-type",
    )
    return tuple(value)


@exercise(
    "09.1",
    title="Assemble a pair",
    minutes=6,
    difficulty=2,
    hints=(
        "How many tokens are there in all? Two sentences and three special tokens: each of these has a segment too.",
        "[CLS], the first sentence and the first [SEP] are segment 0; the second sentence and the last [SEP] are 1.",
        "`[cls_id, *first, sep_id, *second, sep_id]` and `[0] * (len(first) + 2) + [1] * (len(second) + 1)`.",
    ),
    reference=f"{_HERE}:assemble",
)
def judge_assemble(answer):
    assemble = function(answer, "assemble")
    for seed, (a, b) in enumerate([(3, 5), (7, 2), (1, 1), (2, 11)]):
        first = list(range(200 + seed, 200 + seed + a))
        second = list(range(300 + seed, 300 + seed + b))
        result = call(assemble, list(first), list(second), _CLS, _SEP)
        ids, segments = _parts(result, 2, "(input_ids, segment_ids)")
        _judge_ids(tensor(ids, what="`input_ids`").flatten(), first, second)
        found = tensor(segments, what="`segment_ids`").flatten().double()
        n = a + b + 3
        reject_if(
            len(found) != n,
            f"there are {n} tokens and {len(found)} segments: special tokens have a segment too",
            "shape",
        )
        right = [0] * (a + 2) + [1] * (b + 1)
        mistakes = {
            "separator-second": (
                [0] * (a + 1) + [1] * (b + 2),
                "the first [SEP] closes the first sentence: it is segment 0, and segment 1 begins behind it",
            ),
            "last-separator": (
                [0] * (a + 2) + [1] * b + [0],
                "the last [SEP] closes the second sentence: it is segment 1",
            ),
            "swapped": (
                [1] * (a + 2) + [0] * (b + 1),
                "the first sentence is segment 0, the second segment 1: yours are the other way round",
            ),
            "one-segment": ([0] * n, "all tokens are of segment 0, so the model cannot tell the sentences apart"),
            "cls-apart": (
                [0] + [1] * (a + 1) + [2] * (b + 1),
                "[CLS] belongs to the first sentence's segment; BERT has two segments, 0 and 1",
            ),
        }
        compare(
            found,
            torch.tensor(right, dtype=torch.float64),
            [Mistake(torch.tensor(v, dtype=torch.float64), name, text) for name, (v, text) in mistakes.items()],
            f"for sentences of {a} and {b} tokens the segments should be {right}",
        )
    return "two segments over three special tokens; the [SEP] of a sentence belongs to it"


def _judge_ids(found: Tensor, first: list[int], second: list[int]) -> None:
    forms = {
        "no-cls": ([*first, _SEP, *second, _SEP], "[CLS] is missing: its vector stands for the whole pair"),
        "no-last-separator": ([_CLS, *first, _SEP, *second], "the [SEP] behind the second sentence is missing"),
        "no-separator": ([_CLS, *first, *second, _SEP], "nothing stands between the sentences: put [SEP] there too"),
        "two-cls": (
            [_CLS, *first, _SEP, _CLS, *second, _SEP],
            "there is one [CLS], at the very beginning; the second sentence has none of its own",
        ),
        "order": ([_CLS, *second, _SEP, *first, _SEP], "the sentences are in the wrong order"),
    }
    compare(
        found.double(),
        torch.tensor([_CLS, *first, _SEP, *second, _SEP], dtype=torch.float64),
        [Mistake(torch.tensor(v, dtype=torch.float64), name, text) for name, (v, text) in forms.items()],
        "the ids should be [CLS], the first sentence, [SEP], the second sentence, [SEP]",
    )


_TOKENS = 12_000


@exercise(
    "09.2",
    title="Eighty, ten, ten",
    minutes=4,
    difficulty=1,
    hints=(
        "Which tokens does the model have to predict: those that show [MASK], or all that were chosen?",
        "15 % of 12,000 tokens are chosen. Of these 80 % become [MASK], 10 % a random token, 10 % stay as they are.",
        "Chosen: `0.15 * 12000 = 1800`. [MASK]: `0.8 * 1800`. The targets are all 1800.",
    ),
    reference=f"{_HERE}:masking_in_numbers",
)
def judge_masking_in_numbers(answer):
    reject_if(not isinstance(answer, dict), "a dictionary with five entries is asked for", "wrong-type")
    hidden = round(0.15 * _TOKENS)
    right = {
        "hidden": hidden,
        "[MASK]": round(0.8 * hidden),
        "random": round(0.1 * hidden),
        "unchanged": round(0.1 * hidden),
        "targets": hidden,
    }
    of_all = "is a share of all tokens; 80, 10 and 10 % are shares of the 1800 chosen ones"
    for name, value in right.items():
        reject_if(name not in answer, f"the entry `{name}` is missing", "missing")
        reject_if(
            answer[name] is ... or answer[name] is None,
            f"`{name}` is still empty; what is above it is right",
            "not-finished",
        )
        found = number(answer[name], f"`{name}`")
        share = {"[MASK]": 0.8, "random": 0.1, "unchanged": 0.1}.get(name)
        reject_if(share is not None and found == round(share * _TOKENS), f"`{name}` {of_all}", "of-all-tokens")
        reject_if(
            name == "unchanged" and found == _TOKENS - hidden,
            "these are the tokens that were not chosen; asked for are the chosen ones that stay as they are",
            "not-chosen",
        )
        reject_if(
            name == "targets" and found == right["[MASK]"],
            "a chosen token is predicted whether or not it shows [MASK]: if the unchanged ones were not asked for, "
            "the model could copy every token that it sees",
            "mask-only",
        )
        reject_if(
            name == "targets" and found == right["[MASK]"] + right["random"],
            "the chosen tokens that stay as they are count too: the model does not know which they are",
            "changed-only",
        )
        reject_if(not close(torch.tensor(found), torch.tensor(float(value))), f"`{name}` is not {found:,.10g}", "value")
    return "180 targets look like any other token: so the model must form an opinion about every token it reads"


@exercise(
    "09.3",
    title="Masking",
    minutes=10,
    difficulty=3,
    hints=(
        "There are two questions for each token: is it chosen, and what is it replaced by? One boolean tensor each.",
        "`chosen = (u < rate) & ~special`. Chosen tokens are replaced by [MASK] where v < 0.8, by `random_ids` where "
        "v < 0.9, else by themselves. The label of every chosen token is the token that stood there.",
        "`replaced = torch.where(v < 0.8, mask_id, torch.where(v < 0.9, random_ids, ids))`; return "
        "`torch.where(chosen, replaced, ids), torch.where(chosen, ids, -100)`.",
    ),
    reference=f"{_HERE}:mask",
)
def judge_mask(answer):
    mask = function(answer, "mask")
    for seed, (batch, n, rate) in enumerate([(3, 47, 0.15), (2, 31, 0.5), (5, 13, 1.0)]):
        chance = torch.Generator().manual_seed(seed)
        ids, random_ids = torch.randint(200, 900, (2, batch, n), generator=chance)
        u, v = torch.rand(2, batch, n, generator=chance)
        special = torch.zeros(batch, n, dtype=torch.bool)
        special[:, 0], special[:, n // 2], special[:, n - 2 :] = True, True, True
        ids = torch.where(special, 5, ids)
        # Every case occurs: chosen and [MASK], random, unchanged; and a special token that the draw would choose.
        u[0, :4], v[0, 1:4] = 0.01, torch.tensor([0.3, 0.85, 0.95])
        found = _parts(call(mask, ids, special, u, v, random_ids, _MASK, rate), 2, "(input_ids, labels)")
        input_ids, labels = (tensor(part, ids.shape, f"`{name}`") for part, name in zip(found, _RESULTS, strict=True))
        _judge_labels(labels, ids, special, u, v, random_ids, rate)
        _judge_hidden(input_ids, ids, (u < rate) & ~special, v, random_ids)
    return "80 % [MASK], 10 % random, 10 % unchanged, and every one of them is a target"


_RESULTS = ("input_ids", "labels")


def _judge_labels(
    found: Tensor, ids: Tensor, special: Tensor, u: Tensor, v: Tensor, random_ids: Tensor, rate: float
) -> None:
    drawn = u < rate
    chosen = drawn & ~special
    hidden = torch.where(v < 0.8, _MASK, torch.where(v < 0.9, random_ids, ids))

    def labels(where: Tensor, values: Tensor = ids, otherwise: int = -100) -> Tensor:
        return torch.where(where, values, otherwise).double()

    compare(
        found.double(),
        labels(chosen),
        [
            Mistake(
                labels(drawn), "special", "special tokens are hidden too: [CLS], [SEP] and [PAD] are never asked for"
            ),
            Mistake(
                labels(chosen & (v < 0.8)),
                "mask-only",
                "only tokens that became [MASK] have a label; random and unchanged ones are asked for as well, else "
                "the model could trust every token it sees",
            ),
            Mistake(
                labels(chosen & (v < 0.9)),
                "changed-only",
                "the chosen tokens that stay as they are have no label; they are asked for as well",
            ),
            Mistake(
                labels(chosen, hidden), "labels-of-hidden", "the labels hold what is shown; they hold what was there"
            ),
            Mistake(
                ids.double(),
                "everything",
                "every token has a label: the model is then paid for copying what it sees. -100 where none is hidden",
            ),
            Mistake(labels(~chosen), "inverted", "labels and -100 are the wrong way round"),
            Mistake(
                labels(chosen, ids, 0), "zeros", "0 is the id of a token; what is not asked for has the label -100"
            ),
            Mistake(
                labels((u > rate) & ~special),
                "complement",
                "you hide where u > rate, that is most tokens; a draw is below 0.15 in 15 % of the cases",
            ),
        ],
        f"with rate={rate} the labels are not: the token where u < rate and the token is not special, else -100",
    )


def _judge_hidden(found: Tensor, ids: Tensor, chosen: Tensor, v: Tensor, random_ids: Tensor) -> None:
    def shown(first: Tensor | int, second: Tensor | int, third: Tensor | int, where: Tensor = chosen) -> Tensor:
        return torch.where(where, torch.where(v < 0.8, first, torch.where(v < 0.9, second, third)), ids).double()

    compare(
        found.double(),
        shown(_MASK, random_ids, ids),
        [
            Mistake(shown(_MASK, _MASK, _MASK), "always-mask", "all chosen tokens become [MASK]: 80 % of them should"),
            Mistake(
                shown(_MASK, random_ids, random_ids), "no-unchanged", "20 % become random; half of these should stay"
            ),
            Mistake(shown(_MASK, ids, ids), "no-random", "20 % stay; half of these should become a random token"),
            Mistake(shown(_MASK, ids, random_ids), "swapped", "random where 0.8 ≤ v < 0.9, unchanged from 0.9 on"),
            Mistake(
                shown(_MASK, random_ids, ids, torch.ones_like(chosen)),
                "everywhere",
                "tokens that were not chosen are changed too",
            ),
            Mistake(
                ids.double(), "nothing", "nothing is hidden: the labels are right, the input still shows the answers"
            ),
        ],
        "the labels are right, the input is not: [MASK] where v < 0.8, `random_ids` where v < 0.9, else the token",
    )


@exercise(
    "09.4",
    title="Whole words",
    minutes=8,
    difficulty=3,
    hints=(
        "Read a row from left to right. At a token that continues a word, what decides?",
        "A piece that continues takes over the decision of the piece before it, which may have taken it over itself: "
        "so go from left to right, and look at what was decided, not at what was drawn.",
        "`decided = chosen.clone()`, then for each position from 1 on `decided[:, p] = torch.where(continues[:, p], "
        "decided[:, p - 1], chosen[:, p])`.",
    ),
    reference=f"{_HERE}:whole_words",
)
def judge_whole_words(answer):
    whole_words = function(answer, "whole_words")
    for seed, (batch, n) in enumerate([(3, 17), (2, 29), (5, 11)]):
        chance = torch.Generator().manual_seed(seed)
        chosen = torch.rand(batch, n, generator=chance) < 0.3
        continues = torch.rand(batch, n, generator=chance) < 0.5
        continues[:, 0] = False
        chosen[0, :5] = torch.tensor([True, False, False, True, False])
        continues[0, :5] = torch.tensor([False, True, True, False, False])
        chosen[1, :4] = torch.tensor([False, True, False, False])
        continues[1, :4] = torch.tensor([False, True, True, False])
        found = tensor(call(whole_words, chosen, continues), chosen.shape).bool()
        right, any_piece, one_step = _words(chosen, continues)
        compare(
            found,
            right,
            [
                Mistake(chosen, "pieces", "nothing has changed: pieces of one word are still chosen one by one"),
                Mistake(
                    any_piece,
                    "any-piece",
                    "a word is hidden as soon as any of its pieces is drawn: long words are then hidden more often "
                    "than short ones. Let the first piece decide",
                ),
                Mistake(
                    one_step,
                    "one-step",
                    "the third piece of a word looks at the second piece's draw; it should follow what was decided for "
                    "it, which is the first piece's draw",
                ),
                Mistake(chosen | right, "added", "pieces drawn by themselves stay hidden though their word is not"),
                Mistake(
                    chosen & ~continues,
                    "first-only",
                    "only first pieces are hidden: the rest of the word is left to read, and gives it away",
                ),
            ],
            "some piece differs from the first piece of its word",
        )
    return "all pieces of a word, or none; each word with the same probability, however many pieces it has"


def _words(chosen: Tensor, continues: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Decided by the first piece, by any piece, and by the piece before."""
    first, any_piece, one_step = chosen.clone(), chosen.clone(), chosen.clone()
    for row in range(len(chosen)):
        start = 0
        for position in range(1, chosen.shape[1] + 1):
            if position < chosen.shape[1] and continues[row, position]:
                one_step[row, position] = chosen[row, position - 1]
                continue
            first[row, start:position] = chosen[row, start]
            any_piece[row, start:position] = chosen[row, start:position].any()
            start = position
    return first, any_piece, one_step


_DRAWS = 400


@exercise(
    "09.5",
    title="Draw a sentence pair",
    minutes=8,
    difficulty=2,
    hints=(
        "Toss a coin first. If it says *next*, which sentence is it? If not, which documents may it come from?",
        "`random.random() < 0.5` is the coin. *Next*: sentence `i + 1` of the same document, label 0. Else: any "
        "sentence of any *other* document, label 1.",
        "`other = random.choice([k for k in range(len(documents)) if k != number])`, and then "
        "`random.choice(documents[other])`.",
    ),
    reference=f"{_HERE}:draw_pair",
)
def judge_draw_pair(answer):
    draw_pair = function(answer, "draw_pair")
    documents = [[f"{letter}{i}" for i in range(n)] for letter, n in zip("abcde", (5, 3, 7, 4, 6), strict=True)]
    for n, i in ((0, 2), (3, 0)):
        pairs = [_pair(call(draw_pair, [list(d) for d in documents], n, i, Random(seed))) for seed in range(_DRAWS)]
        again = [_pair(call(draw_pair, [list(d) for d in documents], n, i, Random(seed))) for seed in range(20)]
        reject_if(
            again != pairs[:20],
            "the same `random` gives another pair the second time: take every chance from `random`, so that a run "
            "can be repeated",
            "own-chance",
        )
        _judge_pairs(pairs, documents, n, i)
    return "half of the second sentences follow, half are from any other document"


def _pair(result: Any) -> tuple:
    first, second, label = _parts(result, 3, "(first, second, label)")
    label = number(int(label) if isinstance(label, bool) else label, "the label")
    reject_if(label not in (0, 1), f"the label is {label:g}: 0 (next) or 1 (not next) is asked for", "label")
    return first, second, int(label)


def _judge_pairs(pairs: list[tuple], documents: list[list[str]], n: int, i: int) -> None:
    own, following = documents[n][i], documents[n][i + 1]
    strange = next((first for first, _, _ in pairs if first != own), own)
    reject_if(strange != own, f"the first sentence should be {own!r} and is {strange!r}", "first-sentence")
    labels_of = {kind: {label for _, second, label in pairs if (second == following) == kind} for kind in (True, False)}
    reject_if(
        labels_of == {True: {1}, False: {0}}, "the labels are swapped: 0 means that the sentence follows", "swapped"
    )
    reject_if(not labels_of[True], "the second sentence never is the one that follows", "never-next")
    reject_if(not labels_of[False], "the second sentence always is the one that follows", "always-next")
    same = [second for _, second, label in pairs if label == 1 and second in documents[n]]
    reject_if(
        bool(same),
        f"{same[:1]} has the label 1 and is of the same document: a wrong second sentence comes from another one, or "
        "now and then it is the right one",
        "same-document",
    )
    wrong = [second for _, second, label in pairs if label == 0 and second != following]
    reject_if(
        bool(wrong),
        f"{wrong[:1]} has the label 0, but {following!r} is what follows {own!r}",
        "not-the-next",
    )
    share = sum(label for *_, label in pairs) / len(pairs)
    reject_if(
        not 0.38 < share < 0.62,
        f"of {len(pairs)} draws {share:.0%} have the label 1; each label should have half, or the model gets far by "
        "always giving the same answer",
        "unbalanced",
    )
    seen = {second for _, second, label in pairs if label == 1}
    others = [document for k, document in enumerate(documents) if k != n]
    reject_if(
        any(not seen & set(document) for document in others),
        "some other documents never lend a sentence: choose among all of them",
        "few-documents",
    )
    reject_if(
        seen <= {document[0] for document in others} or seen <= {document[i % len(document)] for document in others},
        "the wrong sentences always come from the same place of their document: where a sentence stands would give the "
        "answer away",
        "same-place",
    )


@exercise(
    "09.6",
    title="The loss at hidden positions",
    minutes=8,
    difficulty=2,
    hints=(
        "A batch has b · n positions and only some labels. Over how many does the mean go?",
        "Select first: `hidden = labels != -100`, then `logits[hidden]` is [hidden, vocab_size]. Of each row the "
        "log-probability of its label, negated; then the mean.",
        "`logits[hidden].log_softmax(-1)`, then `.gather(-1, labels[hidden].unsqueeze(-1))`, then minus the mean. Or "
        "`F.cross_entropy` on the selected rows.",
    ),
    reference=f"{_HERE}:mlm_loss",
)
def judge_mlm_loss(answer):
    mlm_loss = function(answer, "mlm_loss")
    for seed, (batch, n, size) in enumerate([(3, 7, 11), (2, 13, 5), (5, 3, 17)]):
        logits = 2 * random_tensor(seed, batch, n, size) + 1
        chance = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, size, (batch, n), generator=chance)
        labels = torch.where(torch.rand(batch, n, generator=chance) < 0.3, ids, -100)
        labels[0, :2], labels[1, 1] = ids[0, :2], ids[1, 1]
        found = tensor(call(mlm_loss, logits, labels), (), "the loss")
        exact = logits.double()
        each = F.cross_entropy(exact.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none")
        hidden = labels.flatten() != -100
        right = each[hidden].mean()
        rows = [part[part != 0].mean() for part in each.view(batch, n) if (part != 0).any()]
        at_zero = F.cross_entropy(exact.flatten(0, 1), labels.flatten().clamp(min=0))
        picked = exact.flatten(0, 1)[hidden].gather(-1, labels.flatten()[hidden].unsqueeze(-1))
        compare(
            found,
            right,
            [
                Mistake(
                    each.mean(),
                    "all-positions",
                    f"the sum is divided by all {batch * n} positions; divide by the {int(hidden.sum())} hidden ones",
                ),
                Mistake(at_zero, "minus-100-as-token", "-100 was taken for the token 0: leave these positions out"),
                Mistake(each.sum(), "sum", "this is the sum over the hidden positions; take the mean"),
                Mistake(
                    torch.stack(rows).mean(),
                    "mean-of-means",
                    "this is the mean over the rows of each row's mean: a hidden token then counts more in a row with "
                    "few of them. Take one mean over all hidden tokens",
                ),
                Mistake(-right, "sign", "the sign is turned: a loss is -log p, and never below 0"),
                Mistake(-picked.mean(), "no-softmax", "logits are not log-probabilities: log_softmax first"),
                Mistake(right / math.log(2), "base-two", "this is in bits; take the natural logarithm"),
                Mistake(right.exp(), "perplexity", "this is the perplexity, exp(loss); the loss itself is asked for"),
            ],
            f"the mean of -log p over the {int(hidden.sum())} hidden positions is {right:.4g}; yours is {found:.4g}",
        )
    return "the visible positions have no part in it, neither in the sum nor in what it is divided by"


@exercise(
    "09.7",
    title="The unigram baseline",
    minutes=6,
    difficulty=2,
    hints=(
        "Which probability does a guesser who sees no context at all give to each token?",
        "Its count plus 1, divided by the sum of all of these. The loss is the mean of -log of that over the hidden "
        "tokens.",
        "`probabilities = (counts + 1) / (counts + 1).sum()`; `-probabilities.log()[labels[labels != -100]].mean()`.",
    ),
    reference=f"{_HERE}:unigram_loss",
)
def judge_unigram_loss(answer):
    unigram_loss = function(answer, "unigram_loss")
    for seed, (size, batch, n) in enumerate([(7, 2, 5), (13, 3, 11), (5, 2, 7)]):
        chance = torch.Generator().manual_seed(seed)
        counts = torch.randint(0, 40, (size,), generator=chance)
        counts[1], counts[2] = 0, 3
        labels = torch.randint(0, size, (batch, n), generator=chance)
        labels = torch.where(torch.rand(batch, n, generator=chance) < 0.6, labels, -100)
        labels[0, 0], labels[1, 0], labels[0, 1] = 1, 2, -100
        found = number(call(unigram_loss, counts, labels), "the loss")
        reject_if(
            math.isinf(found),
            "the loss is infinite: a token that was never seen has the probability 0. Count each once more than seen",
            "no-smoothing",
        )
        hidden, c = labels[labels != -100], counts.double()
        p = (c + 1) / (c + 1).sum()
        right = -p.log()[hidden].mean()
        compare(
            torch.tensor(found, dtype=torch.float64),
            right,
            [
                Mistake(
                    -((c + 1) / c.sum()).log()[hidden].mean(),
                    "not-normalised",
                    "these probabilities sum to more than 1: divide by the sum of the counts *after* adding 1",
                ),
                Mistake(right.exp(), "perplexity", "this is the perplexity, exp(loss); the loss itself is asked for"),
                Mistake(right / math.log(2), "base-two", "this is in bits; take the natural logarithm"),
                Mistake(-right, "sign", "the sign is turned: the loss is the mean of *minus* log p"),
                Mistake(-p.log()[hidden].sum(), "sum", "this is the sum over the hidden tokens; take the mean"),
                Mistake(
                    -p.log()[hidden].sum() / labels.numel(),
                    "all-positions",
                    "the sum is divided by all positions; only the hidden ones are guessed",
                ),
                Mistake(
                    -(p * p.log()).sum(),
                    "entropy",
                    "this is the entropy of the counted frequencies; the loss is taken over the hidden tokens",
                ),
                Mistake(
                    -p[hidden].mean().log(), "log-of-mean", "take the logarithm of each probability, then the mean"
                ),
            ],
            f"the loss should be {right:.4g} and is {found:.4g}",
        )
    return "what a model must beat to have learned anything from context"


@exercise(
    "09.8",
    title="Four bugs",
    minutes=15,
    difficulty=5,
    hints=(
        "List its parameters: does every layer of `forward` have some? Then change a padded token and look whether the "
        "logits of the real ones move. Then compare the loss with `mlm_loss`.",
        "One layer is made anew in every call. One sub-layer replaces x instead of adding to it. One argument is never "
        "used. And the loss is paid for tokens that the model can see.",
        "`self.dense` belongs into `__init__`; `x + self.feed_forward(x)`; `mask=attention_mask[:, None, :]`; and "
        "`F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)` with the labels as they are.",
    ),
    reference=f"{_HERE}:TinyBert",
    starts_broken=True,
)
def judge_tiny_bert(answer):
    for seed, (batch, n, heads, d_model, d_ff, size) in enumerate([(2, 7, 3, 21, 11, 29), (3, 5, 2, 10, 13, 17)]):
        model = _built_bert(answer, size, d_model, heads, d_ff, n + 2)
        p = _set_all(model, seed, d_model)
        chance = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, size, (batch, n), generator=chance)
        segments = (torch.arange(n) > n // 2).long().expand(batch, n).contiguous()
        everything, padded = torch.ones(2, batch, n, dtype=torch.bool)
        padded[0, n - 2 :], padded[1, n - 3 :] = False, False
        with torch.no_grad():
            for attention_mask in (everything, padded):
                found = tensor(call(model, ids, attention_mask, segments), (batch, n, size), "the logits")
                _judge_logits(found, ids, attention_mask, segments, p, heads)
            _judge_loss(model, ids, padded, segments, chance)
    return "every layer trained, every sum in place, padding out of sight, and paid for hidden tokens alone"


def _built_bert(answer: Any, *sizes: int) -> nn.Module:
    reject_if(
        isinstance(answer, nn.Module),
        "a class is asked for and this is one module made from it: pass `TinyBert`",
        "wrong-type",
    )
    reject_if(
        not callable(answer), f"`TinyBert` should be a class and is of type {type(answer).__name__}", "wrong-type"
    )
    model = call(answer, *sizes)
    reject_if(not isinstance(model, nn.Module), "`TinyBert(…)` is not an nn.Module", "wrong-type")
    return model.eval()


def _set_all(model: nn.Module, seed: int, d_model: int) -> dict[str, Tensor]:
    """Random numbers for every parameter, as they are set, in double precision."""
    own = dict(model.named_parameters())
    reject_if(
        not any(name.startswith("dense.") for name in own),
        "the head's layer `dense` has no parameter in the model: it is made in `forward`, so it is new and random in "
        "every call, and no optimiser ever sees it. Make it in `__init__`",
        "made-in-forward",
    )
    maps = ("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.out_proj", "feed_forward.up")
    maps += ("feed_forward.down", "dense", "norm", "attention_norm", "feed_forward_norm")
    names = ["token.weight", "position.weight", "segment.weight", "bias"]
    names += [f"{part}.{kind}" for part in maps for kind in ("weight", "bias")]
    missing = [name for name in names if name not in own]
    reject_if(
        bool(missing),
        f"there is no parameter `{missing[0] if missing else ''}`: keep the names of the parts",
        "renamed",
    )
    values = {}
    with torch.no_grad():
        for index, name in enumerate(names):
            values[name] = random_tensor(100 * seed + index, *own[name].shape) / math.sqrt(d_model) + (
                1.0 if name.endswith("norm.weight") else 0.0
            )
            own[name].copy_(values[name])
    return {name: value.double() for name, value in values.items()}


def _judge_logits(
    found: Tensor, ids: Tensor, attention_mask: Tensor, segment_ids: Tensor, p: dict[str, Tensor], heads: int
) -> None:
    def logits(mask: Tensor = attention_mask, **changes: bool) -> Tensor:
        return _oracle(ids, mask, segment_ids, p, heads, **changes)

    everything = torch.ones_like(attention_mask)
    real = attention_mask
    right = logits()
    if close(found[real], right[real]):
        return
    for left_out in (c for n in (1, 2) for c in itertools.combinations(_LEFT_OUT, n)):
        for mask in (attention_mask, everything):
            if close(found[real], logits(mask, **dict.fromkeys(left_out, False))[real]):
                raise Rejected(*_LEFT_OUT[left_out[0]])
    if close(found[real], logits(everything)[real]):
        raise Rejected(
            "without padding the logits are right; with padding real tokens attend to [PAD]: hand `attention_mask` on "
            "to the attention, as [batch, 1, length]",
            "mask-forgotten",
        )
    if close(found[real], logits(~attention_mask)[real]):
        raise Rejected(
            "the mask acts the wrong way round: True is a real token, which may be attended to", "mask-inverted"
        )
    padding = "" if attention_mask.all() else "; without padding they are right"
    raise Rejected(f"the logits are not those of embeddings, one post-norm block and the head{padding}", "value")


_LEFT_OUT = {
    "attention_residual": (
        "x is not added to what the attention returns: the sub-layer replaces the token's own vector",
        "no-residual",
    ),
    "feed_forward_residual": (
        "x is not added to what the feed-forward layer returns: it replaces what the attention gathered",
        "no-residual",
    ),
    "positions": ("the position embedding is not added: the order of the words is lost", "no-positions"),
    "segments": ("the segment embedding is not added", "no-segments"),
}


def _oracle(
    ids: Tensor,
    attention_mask: Tensor,
    segment_ids: Tensor,
    p: dict[str, Tensor],
    heads: int,
    *,
    attention_residual: bool = True,
    feed_forward_residual: bool = True,
    positions: bool = True,
    segments: bool = True,
) -> Tensor:
    """The logits, written with torch's functions alone."""

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"])

    x = p["token.weight"][ids]
    if positions:
        x = x + p["position.weight"][: ids.shape[1]]
    if segments:
        x = x + p["segment.weight"][segment_ids]
    x = norm(x, "norm")
    q, k, v = (linear(x, f"attention.{part}_proj").unflatten(-1, (heads, -1)).transpose(1, 2) for part in "qkv")
    gathered = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask[:, None, None, :])
    gathered = linear(gathered.transpose(1, 2).flatten(-2), "attention.out_proj")
    x = norm(x + gathered if attention_residual else gathered, "attention_norm")
    refined = linear(F.gelu(linear(x, "feed_forward.up")), "feed_forward.down")
    x = norm(x + refined if feed_forward_residual else refined, "feed_forward_norm")
    return F.gelu(linear(x, "dense")) @ p["token.weight"].T + p["bias"]


def _judge_loss(
    model: nn.Module, ids: Tensor, attention_mask: Tensor, segments: Tensor, chance: torch.Generator
) -> None:
    reject_if(not callable(getattr(model, "loss", None)), "the method `loss` is missing", "renamed")
    hidden = (torch.rand(ids.shape, generator=chance) < 0.4) & attention_mask
    hidden[:, 0], hidden[0, 1] = True, False
    labels = torch.where(hidden, ids, -100)
    shown = torch.where(hidden, (ids + 1) % 11, ids)
    found = tensor(call(model.loss, shown, attention_mask, segments, labels), (), "the loss")
    logits = tensor(call(model, shown, attention_mask, segments)).flatten(0, 1)

    def mean(targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets.flatten(), ignore_index=-100)

    originals = torch.where(hidden, labels, shown)
    each = F.cross_entropy(logits, labels.flatten(), ignore_index=-100, reduction="none")
    compare(
        found,
        mean(labels),
        [
            Mistake(
                mean(originals),
                "visible-tokens",
                "the logits are right; the loss also asks for tokens that the model can see, which pays for copying. "
                "Ask where the label is not -100, and nowhere else",
            ),
            Mistake(
                mean(torch.where(attention_mask, originals, -100)),
                "visible-tokens",
                "padding is left out of the loss now, but it still asks for tokens that the model can see",
            ),
            Mistake(mean(shown), "copying", "the targets are what the input shows; they are the labels"),
            Mistake(mean(labels.clamp(min=0)), "minus-100-as-token", "-100 was taken for the token 0"),
            Mistake(each.mean(), "all-positions", "the sum is right; divide it by the number of hidden tokens"),
            Mistake(each.sum(), "sum", "this is the sum over the hidden tokens; take the mean"),
        ],
        "the logits are right; the loss is not their mean cross-entropy at the hidden tokens",
    )


quiz(
    "09",
    Question(
        "BERT is called bidirectional. What does that mean, precisely?",
        (
            Choice(
                "It reads the text twice, once from each end", "That is a bidirectional RNN: two one-sided readers."
            ),
            Choice(
                "Every token may attend to all tokens on both sides, in every layer, at once",
                "There is no reading direction at all: no mask hides one side. Order enters through positions alone.",
            ),
            Choice("It generates text in both directions", "It is not made to generate; it fills gaps."),
        ),
        right=1,
    ),
    Question(
        "Why do 10 % of the chosen tokens stay as they are?",
        (
            Choice("To save computation", "It costs the same."),
            Choice("Because they are easy", "Which ones stay is drawn at random."),
            Choice(
                "So that a visible token may be asked for too, and every token's vector must say what belongs there",
                "In use there is no [MASK]; a model that only had opinions about [MASK] would be of little use.",
            ),
        ),
        right=2,
    ),
    Question(
        "A masked-language loss over all positions falls fast and far. What has been learned?",
        (
            Choice(
                "To copy: 85 % of the tokens stand in the input", "The loss is low and the gaps are as open as ever."
            ),
            Choice("Language, faster", "Ask it for hidden tokens only: it has hardly improved."),
            Choice("Nothing at all", "It has learned something, and something useless: to copy."),
        ),
        right=0,
    ),
    Question(
        "A causal model and a bidirectional one are asked for a hidden token. What does the causal one lack?",
        (
            Choice("Parameters", "Both have the same, to the last one."),
            Choice(
                "The tokens after the gap", "Its mask hides them in every layer, so nothing of them can reach the gap."
            ),
            Choice("Positions", "Both have the same position table."),
        ),
        right=1,
    ),
    Question(
        "Your next-sentence accuracy is 52 % on 600 held-out pairs. What do you report?",
        (
            Choice(
                "It has learned to tell",
                "By chance alone, 600 fair coins land outside 46 % to 54 % once in twenty times.",
            ),
            Choice("A bug", "Perhaps; but a hard task and a small model explain it as well. A control tells."),
            Choice(
                "That it cannot be told from chance, with the number and the control beside it",
                "The interval holds 50 %. A control trained on shuffled labels shows what chance looks like here.",
            ),
        ),
        right=2,
    ),
)
