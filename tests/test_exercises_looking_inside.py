"""Exercises of notebook 11: planted mistakes get their own message, unusual right answers pass."""

import random
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from tests.judged import accepted, rejected


def reference(id):
    return EXERCISES[id].reference


# --- 11.1 ---------------------------------------------------------------------------------------------------


def head_by(score):
    """(layer, head) of the largest score; `score` takes the weights and the offset."""
    return lambda weights, offset: divmod(int(score(weights, offset).argmax()), weights.shape[1])


def mean_weight(weights, offset):
    return weights.diagonal(offset, dim1=-2, dim2=-1).mean(dim=-1)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (head_by(lambda w, o: mean_weight(w, -o)), "other-direction", "diagonal below"),
        (head_by(lambda w, o: mean_weight(w.transpose(-1, -2), o)), "other-direction", "columns keys"),
        (head_by(lambda w, o: w.diagonal(o, dim1=-2, dim2=-1).amax(dim=-1)), "one-query", "mean over the queries"),
        (head_by(lambda w, o: w.amax(dim=-1).mean(dim=-1)), "sharpest", "i + offset"),
        (lambda w, o: head_by(mean_weight)(w, o)[::-1], "swapped", "(layer, head)"),
        (lambda w, o: int(mean_weight(w, o).argmax()), "one-number", "return two"),
        (lambda w, o: mean_weight(w, o).argmax(), "one-number", "return two"),
        (lambda w, o: (0, 99), "value", "largest mean weight"),
        (lambda w, o: (0, 1, 2), "shape", "(3,)"),
    ],
)
def test_find_head_rejects(answer, misconception, word):
    rejected("11.1", answer, misconception, word)


def head_by_loops(weights, offset):
    layers, heads, n, _ = weights.shape
    best = {}
    for layer in range(layers):
        for head in range(heads):
            pairs = [(i, i + offset) for i in range(n) if 0 <= i + offset < n]
            best[layer, head] = sum(float(weights[layer, head, i, j]) for i, j in pairs)
    return max(best, key=best.get)


def head_in_numpy(weights, offset):
    scores = np.diagonal(weights.numpy(), offset, axis1=-2, axis2=-1).sum(-1)
    return np.array(np.unravel_index(scores.argmax(), scores.shape))


@pytest.mark.parametrize("answer", [head_by_loops, head_in_numpy, head_by(mean_weight), reference("11.1")])
def test_find_head_accepts(answer):
    accepted("11.1", answer)


# --- 11.2 ---------------------------------------------------------------------------------------------------


def share(leave=True, nearness=F.cosine_similarity, turn=False, scale=1):
    def sense_accuracy(vectors, senses):
        hits = 0
        for i in range(len(senses)):
            others = torch.arange(len(senses)) != i if leave else torch.ones(len(senses), dtype=torch.bool)
            means = torch.stack([vectors[others & (senses == sense)].mean(dim=0) for sense in (0, 1)])
            hits += int((nearness(vectors[i][None], means).argmax() == senses[i]) != turn)
        return scale * hits / len(senses)

    return sense_accuracy


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (share(leave=False), "not-left-out", "leave it out"),
        (share(nearness=lambda x, means: -(x - means).norm(dim=-1)), "distance", "cosines"),
        (share(nearness=lambda x, means: (x * means).sum(dim=-1)), "dot-product", "longer mean"),
        (share(turn=True), "wrong-way", "other"),
        (share(scale=100), "percent", "from 0 to 1"),
        (lambda vectors, senses: 0.123, "value", "left out once"),
        (lambda vectors, senses: "high", "wrong-type", "str"),
    ],
)
def test_sense_accuracy_rejects(answer, misconception, word):
    rejected("11.2", answer, misconception, word)


def share_by_sums(vectors, senses):
    """All at once: the mean of the others is the sum without the vector itself."""
    one_hot = F.one_hot(senses.long(), 2).to(vectors.dtype)
    sums = (one_hot.T @ vectors)[None] - one_hot[:, :, None] * vectors[:, None]
    means = sums / (one_hot.sum(0) - one_hot)[:, :, None]
    return (F.cosine_similarity(vectors[:, None], means, dim=-1).argmax(-1) == senses).double().mean()


def share_in_numpy(vectors, senses, verbose=False):
    x, y = vectors.numpy().astype(float), senses.numpy()
    right = []
    for i in range(len(y)):
        keep = np.delete(np.arange(len(y)), i)
        a, b = (x[keep][y[keep] == s].mean(0) for s in (0, 1))
        right.append((x[i] @ b / np.linalg.norm(b) > x[i] @ a / np.linalg.norm(a)) == (y[i] == 1))
    return np.mean(right)


@pytest.mark.parametrize("answer", [share_by_sums, share_in_numpy, share(), reference("11.2")])
def test_sense_accuracy_accepts(answer):
    accepted("11.2", answer)


# --- 11.3 ---------------------------------------------------------------------------------------------------


def drawn_for(kinds):
    """Labels of the words, drawn for `kinds(words)` in that order."""

    def control_labels(words, num_labels, seed):
        order = kinds(words)
        label = dict(zip(order, np.random.default_rng(seed).integers(num_labels, size=len(order)), strict=True))
        return [int(label[word]) for word in words]

    return control_labels


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda w, n, seed: np.random.default_rng(seed).integers(n, size=len(w)), "per-token", "all its occurrences"),
        (drawn_for(lambda words: list(dict.fromkeys(words))), "order", "sort"),
        (lambda w, n, seed: reference("11.3")(w, n, 0), "seed-ignored", "`seed`"),
        (lambda w, n, seed: reference("11.3")(w, n, random.randrange(10**9)), "not-reproducible", "generator"),
        (lambda w, n, seed: reference("11.3")(w, n, seed) + 1, "range", "from 0 to 1"),
        (lambda w, n, seed: reference("11.3")(w, 2, seed) * 0 + seed % 2, "uneven", "same share"),
        (lambda w, n, seed: reference("11.3")(w, n, seed) / 2, "range", "whole numbers"),
        (lambda w, n, seed: reference("11.3")(w, n, seed) == 1, "wrong-type", "True and False"),
        (lambda w, n, seed: reference("11.3")(sorted(set(w)), n, seed), "shape", "the labels"),
    ],
)
def test_control_labels_rejects(answer, misconception, word):
    rejected("11.3", answer, misconception, word)


def labels_by_word(words, num_labels, seed):
    return [random.Random(f"{seed} {word}").randrange(num_labels) for word in words]


def labels_in_torch(words, num_labels, seed, device=None):
    kinds = sorted(set(words))
    drawn = torch.randint(num_labels, (len(kinds),), generator=torch.Generator().manual_seed(seed))
    return drawn[torch.tensor([kinds.index(word) for word in words])]


@pytest.mark.parametrize("answer", [labels_by_word, labels_in_torch, drawn_for(lambda w: sorted(set(w)))])
def test_control_labels_accepts(answer):
    accepted("11.3", answer)


# --- 11.4 ---------------------------------------------------------------------------------------------------


def least_squares(train_x, train_y, test_x, scale_by_test=False):
    x, z = np.asarray(train_x, dtype=float), np.asarray(test_x, dtype=float)
    own = z if scale_by_test else x
    kinds = np.unique(train_y)
    a, b = ((part - source.mean(0)) / (source.std(0) + 1e-9) for part, source in ((x, x), (z, own)))
    targets = (np.asarray(train_y)[:, None] == kinds).astype(float)
    solution = np.linalg.lstsq(np.c_[a, np.ones(len(a))], targets, rcond=None)[0]
    return kinds[(np.c_[b, np.ones(len(b))] @ solution).argmax(1)]


def nearest(train_x, train_y, test_x):
    x, z = (part / [1, 50, 1, 1, 1, 3][: part.shape[1]] for part in (train_x, test_x))
    return train_y[((z[:, None] - x[None]) ** 2).sum(-1).argmin(1)]


def places(train_x, train_y, test_x):
    return np.searchsorted(np.unique(train_y), least_squares(train_x, train_y, test_x))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (nearest, "not-linear", "exclusive-or"),
        (lambda x, y, z: least_squares(x, y, z, scale_by_test=True), "scaled-on-test", "training vectors"),
        (places, "places", "labels"),
        (lambda x, y, z: 2 - least_squares(x, y, z), "flipped", "wrong order"),
        (lambda x, y, z: least_squares(x, y, x), "shape", "predict the test vectors"),
        (lambda x, y, z: np.full((len(z), 3), 1 / 3), "probabilities", "one label"),
        (lambda x, y, z: 0.91, "a-score", "each test vector"),
        (lambda x, y, z: np.zeros(len(z), dtype=int), "value", "three classes"),
    ],
)
def test_probe_rejects(answer, misconception, word):
    rejected("11.4", answer, misconception, word)


def by_torch(train_x, train_y, test_x, steps=400):
    x = torch.as_tensor(train_x, dtype=torch.float32)
    mean, spread = x.mean(0), x.std(0) + 1e-6
    kinds, y = torch.unique(torch.as_tensor(train_y), return_inverse=True)
    linear = torch.nn.Linear(x.shape[1], len(kinds))
    torch.nn.init.zeros_(linear.weight)
    optimiser = torch.optim.Adam(linear.parameters(), lr=0.05)
    for _ in range(steps):
        loss = F.cross_entropy(linear((x - mean) / spread), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return kinds[linear((torch.as_tensor(test_x, dtype=torch.float32) - mean) / spread).argmax(1)]


@pytest.mark.parametrize("answer", [by_torch, least_squares, reference("11.4")])
def test_probe_accepts(answer):
    accepted("11.4", answer)


# --- 11.5 ---------------------------------------------------------------------------------------------------


def rolled(joined=lambda w: w.mean(1), mix=None, order=lambda m: m, start=lambda n: torch.eye(n).double()):
    def attention_rollout(weights, residual=0.5):
        n = weights.shape[-1]
        attention = joined(weights.double())
        identity = torch.eye(n).double()
        mixing = mix(identity, attention) if mix else residual * identity + (1 - residual) * attention
        total = start(n)
        for layer in order(list(mixing)):
            total = layer @ total
        return total

    return attention_rollout


def heads_apart(weights, residual=0.5):
    return torch.stack([rolled()(weights[:, head, None]) for head in range(weights.shape[1])]).mean(0)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (rolled(order=lambda m: m[::-1]), "wrong-order", "at the left"),
        (rolled(mix=lambda eye, a: a), "no-residual", "past the attention"),
        (rolled(mix=lambda eye, a: eye + a), "not-normalised", "sum to 4"),
        (rolled(mix=lambda eye, a: (eye + a) / 2), "residual-ignored", "use the argument"),
        (lambda w, residual=0.5: rolled()(w, 1 - residual), "residual-swapped", "share of the identity"),
        (lambda w, residual=0.5: ((torch.eye(w.shape[-1]) + w.mean(1)) / 2).mean(0), "mean-of-layers", "multiply"),
        (lambda w, residual=0.5: ((torch.eye(w.shape[-1]) + w.mean(1)) / 2).sum(0), "sum-of-layers", "multiply"),
        (heads_apart, "heads-apart", "in each layer first"),
        (rolled(order=lambda m: m[-1:]), "last-layer", "layers before it"),
        (rolled(order=lambda m: m[:-1]), "one-missing", "one factor for each layer"),
        (lambda w, residual=0.5: rolled()(w, residual).T, "transposed", "made of"),
        (rolled(joined=lambda w: w.amax(1)), "value", "rows sum to"),
        (lambda w, residual=0.5: w, "shape", "(2, 3, 5, 5)"),
        (lambda w: rolled()(w), "exception", "residual"),
    ],
)
def test_rollout_rejects(answer, misconception, word):
    rejected("11.5", answer, misconception, word)


def rollout_in_numpy(weights, residual=0.5, verbose=False):
    mean = weights.numpy().mean(axis=1)
    mixing = residual * np.eye(mean.shape[-1]) + (1 - residual) * mean
    return np.linalg.multi_dot(mixing[::-1])


@pytest.mark.parametrize("answer", [rollout_in_numpy, rolled(), reference("11.5")])
def test_rollout_accepts(answer):
    accepted("11.5", answer)


# --- 11.6 ---------------------------------------------------------------------------------------------------


def zeroed(inputs, columns):
    merged = inputs[0].clone()
    merged[..., columns] = 0
    return (merged,)


def block_of(attention, head):
    return slice(head * attention.d_k, (head + 1) * attention.d_k)


def silenced(columns=block_of, remove=True, careful=True, zero=zeroed, where="out_proj", choose=lambda heads: heads):
    @contextmanager
    def heads_silenced(attentions, heads):
        handles = []
        for layer, head in choose(heads):
            own = columns(attentions[layer], head)
            part = getattr(attentions[layer], where)
            handles.append(part.register_forward_pre_hook(lambda module, inputs, own=own: zero(inputs, own)))
        try:
            yield
        except BaseException:
            if not careful:
                handles = []
            raise
        finally:
            for handle in handles if remove else []:
                handle.remove()

    return heads_silenced


@contextmanager
def late_binding(attentions, heads):
    handles = []
    for layer, head in heads:
        attention = attentions[layer]

        def hook(module, inputs):
            return zeroed(inputs, block_of(attention, head))  # noqa: B023 - the planted mistake

        handles.append(attention.out_proj.register_forward_pre_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def all_but(heads):
    return [(layer, head) for layer, one in heads for head in range(4) if head != one]


def in_the_output(attentions, heads):
    @contextmanager
    def block():
        handles = []
        for layer, head in heads:
            columns = block_of(attentions[layer], head)
            hook = lambda m, i, output, columns=columns: output.index_fill(  # noqa: E731
                -1, torch.arange(columns.start, columns.stop), 0
            )
            handles.append(attentions[layer].out_proj.register_forward_hook(hook))
        yield
        for handle in handles:
            handle.remove()

    return block()


@contextmanager
def swallowing(attentions, heads):
    """Wrong on purpose, as an answer to 11.6: an error inside the block is lost."""
    try:
        with reference("11.6")(attentions, heads):
            yield
    except Exception:
        pass


@contextmanager
def editing(attentions, heads):
    with torch.no_grad():
        for layer, head in heads:
            attentions[layer].out_proj.weight[:, block_of(attentions[layer], head)] = 0
    yield


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (silenced(remove=False), "hooks-left", "finally"),
        (silenced(careful=False), "no-finally", "by an error"),
        (late_binding, "late-binding", "loop"),
        (silenced(zero=lambda inputs, columns: None), "no-effect", "returns the new value"),
        (silenced(columns=lambda attention, head: slice(None)), "all-heads", "all heads"),
        (silenced(choose=all_but), "keeps-only", "only"),
        (silenced(choose=lambda heads: [(layer - 1, head) for layer, head in heads]), "another-layer", "(layer, head)"),
        (silenced(columns=lambda attention, head: slice(head, None, 4)), "value", "i · d_k"),
        (in_the_output, "after-the-output-map", "before `out_proj`"),
        (swallowing, "swallowed", "let it pass"),
        (editing, "hooks-left", "remove"),
        (lambda attentions, heads: [1], "no-context", "@contextmanager"),
        (silenced(where="nothing"), "exception", "nothing"),
    ],
)  # fmt: skip
def test_heads_silenced_rejects(answer, misconception, word):
    rejected("11.6", answer, misconception, word)


class WithClass:
    """No decorator: a class with `__enter__` and `__exit__`, which silences the values of a head."""

    def __init__(self, attentions, heads):
        self.attentions, self.heads = attentions, heads

    def __enter__(self):
        self.handles = [self._silence(self.attentions[layer], head) for layer, head in self.heads]

    def _silence(self, attention, head):
        places = torch.arange(*block_of(attention, head).indices(attention.d_model))
        return attention.v_proj.register_forward_hook(lambda m, i, output: output.index_fill(-1, places, 0))

    def __exit__(self, *error):
        for handle in self.handles:
            handle.remove()


@pytest.mark.parametrize(
    "answer", [silenced(), lambda attentions, heads: WithClass(attentions, heads), reference("11.6")]
)
def test_heads_silenced_accepts(answer):
    accepted("11.6", answer)


# --- 11.7 ---------------------------------------------------------------------------------------------------


def hunt(keep=lambda word, text: word in text.split(), drop=None, turn=1, over=None):
    def cue_effects(predict, texts, words):
        found = {}
        for word in words:
            having = [text for text in texts if keep(word, text)]
            without = [(drop or without_word)(text, word) for text in having]
            difference = turn * (predict(having) - predict(without)) if having else torch.zeros(1)
            found[word] = float(difference.sum()) / (len(over(texts)) if over else max(len(having), 1))
        return found

    return cue_effects


def without_word(text, word):
    return " ".join(other for other in text.split() if other != word)


def without_first(text, word):
    words = text.split()
    words.remove(word)
    return " ".join(words)


def against_others(predict, texts, words):
    found = {}
    for word in words:
        having = [text for text in texts if word in text.split()]
        others = [text for text in texts if word not in text.split()]
        found[word] = float(predict(having).mean() - predict(others).mean()) if having and others else 0.0
    return found


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (hunt(turn=-1), "sign", "turned round"),
        (lambda p, t, w: {k: abs(v) for k, v in hunt()(p, t, w).items()}, "absolute", "keep the sign"),
        (hunt(over=lambda texts: texts), "diluted", "all texts"),
        (hunt(drop=without_first), "one-occurrence", "all of them"),
        (hunt(keep=lambda word, text: word in text, drop=lambda t, w: t.replace(w, "")), "part-of-a-word", "party"),
        (against_others, "other-texts", "with itself"),
        (lambda p, t, w: {k: v for k, v in hunt()(p, t, w).items() if v}, "missing", "one entry"),
        (lambda p, t, w: dict.fromkeys(w, 0.5), "value", "predict(text"),
        (lambda p, t, w: {word: p(t[0]) for word in w}, "one-text", "list"),
        (lambda p, t, w: [0.0] * len(w), "missing", "dictionary"),
    ],
)
def test_cue_effects_rejects(answer, misconception, word):
    rejected("11.7", answer, misconception, word)


def one_by_one(predict, texts, words):
    found = {}
    for word in words:
        changes = [
            float(predict([text])[0]) - float(predict([without_word(text, word)])[0])
            for text in texts
            if word in text.split()
        ]
        found[word] = np.float64(np.mean(changes)) if changes else 0
    return found


@pytest.mark.parametrize("answer", [one_by_one, hunt(), reference("11.7")])
def test_cue_effects_accepts(answer):
    accepted("11.7", answer)


# --- all ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", [f"11.{number}" for number in range(1, 8)])
def test_blank(id):
    def stub(*arguments):
        """Says what to do."""
        ...

    assert judge(id, stub).misconception == NOT_ATTEMPTED
