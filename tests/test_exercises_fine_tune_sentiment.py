"""Exercises of notebook 15: planted mistakes get their own message, unusual right answers pass."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch.nn import functional as F

from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from tests.judged import accepted, rejected

REFERENCE = {id: EXERCISES[id].reference for id in ("15.1", "15.2", "15.3", "15.4", "15.5")}


# --- 15.1 ---------------------------------------------------------------------------------------------------


def metric(f1, accuracy=None, axis=-1):
    def compute_metrics(prediction):
        logits, labels = prediction
        answers = logits.argmax(axis)
        share = (answers == labels).mean() if accuracy is None else accuracy(answers, labels)
        return {"accuracy": share, "f1": f1(answers, labels)}

    return compute_metrics


def by_sklearn(average):
    return lambda answers, labels: f1_score(labels, answers, average=average, zero_division=0)


def f1_of(c):
    def one(answers, labels):
        c_ = labels.max() if c == "last" else c
        return 2 * ((answers == c_) & (labels == c_)).sum() / ((answers == c_).sum() + (labels == c_).sum())

    return one


def only_answered(answers, labels):
    return f1_score(labels, answers, average="macro", labels=np.unique(answers))


def every_column(logits, labels):
    answers = logits.argmax(-1)
    f1 = f1_score(labels, answers, average="macro", labels=range(logits.shape[1]), zero_division=0)
    return {"accuracy": (answers == labels).mean(), "f1": f1}


def with_nan(answers, labels):
    precision = [(labels[answers == c] == c).mean() if (answers == c).any() else np.nan for c in np.unique(labels)]
    return float(np.mean(precision)) if np.isnan(precision).any() else by_sklearn("macro")(answers, labels)


macro = by_sklearn("macro")


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (metric(by_sklearn("micro")), "micro", "equals the accuracy"),
        (metric(by_sklearn("weighted")), "weighted", "rare class"),
        (metric(f1_of("last")), "one-class", "last class alone"),
        (metric(f1_of(0)), "one-class", "class 0 alone"),
        (metric(only_answered), "never-answered", "never answered"),
        (lambda prediction: every_column(*prediction), "absent-class", "all 4 columns"),
        (metric(with_nan), "nan", "0 / 0"),
        (metric(lambda a, y: 100 * macro(a, y)), "percent", "0 to 1"),
        (metric(macro, lambda a, y: 100 * (a == y).mean()), "percent", "per cent"),
        (metric(macro, lambda a, y: (a == y).sum()), "not-divided", "divide it"),
        (metric(macro, lambda a, y: (a != y).mean()), "error-rate", "errors"),
        (metric(macro, lambda a, y: 0.123), "value", "largest logit"),
        (lambda prediction: {"acc": 0.5}, "missing", "'accuracy'"),
        (lambda prediction: 0.5, "wrong-type", "dictionary"),
        (lambda prediction: prediction, "wrong-type", "returns what it was given, the predictions"),
        (metric(macro, axis=0), "exception", ""),
    ],
)
def test_metric_rejects(answer, misconception, word):
    if misconception == "exception":
        assert not judge("15.1", answer).passed
    else:
        rejected("15.1", answer, misconception, word)


def by_names(prediction):
    answers = np.argmax(prediction.predictions, axis=1)
    return {
        "accuracy": accuracy_score(prediction.label_ids, answers),
        "f1": f1_score(prediction.label_ids, answers, average="macro"),
        "extra": 3,
    }


def by_counting(prediction):
    logits, labels = torch.tensor(prediction[0]), torch.tensor(prediction[1])
    table = torch.zeros(logits.shape[1], logits.shape[1])
    for row, label in zip(logits, labels, strict=True):
        table[label, row.argmax()] += 1
    there = (table.sum(0) + table.sum(1)) > 0
    f1 = 2 * table.diagonal() / (table.sum(0) + table.sum(1))
    return {"f1": f1[there].mean(), "accuracy": table.diagonal().sum() / table.sum()}


@pytest.mark.parametrize("answer", [by_names, by_counting, metric(macro)])
def test_metric_accepts(answer):
    accepted("15.1", answer)


# --- 15.2 ---------------------------------------------------------------------------------------------------


def step(*calls, mode=True, result=lambda loss: loss.item()):
    """A training step with these calls in this order."""

    def training_step(model, batch, optimiser, scheduler, max_norm=1.0):
        if mode:
            model.train()
        loss = model(**batch).loss
        for name in calls:
            if name == "zero":
                optimiser.zero_grad()
            elif name == "backward":
                loss.backward()
            elif name == "clip":
                torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            elif name == "clip values":
                torch.nn.utils.clip_grad_value_(model.parameters(), max_norm)
            elif name == "step":
                optimiser.step()
            elif name == "schedule":
                scheduler.step()
        return result(loss)

    return training_step


RIGHT = ("zero", "backward", "clip", "step", "schedule")


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (step("backward", "clip", "step", "schedule"), "accumulates", "zero_grad"),
        (step("backward", "step", "schedule"), "accumulates", "not clipped"),
        (step("zero", "backward", "step", "schedule"), "not-clipped", "full length"),
        (step("zero", "clip", "backward", "step", "schedule"), "not-clipped", "after `backward()`"),
        (step("zero", "backward", "step", "clip", "schedule"), "not-clipped", "before"),
        (step("zero", "backward", "clip values", "step", "schedule"), "clips-values", "direction"),
        (step("zero", "backward", "clip", "step"), "no-schedule", "first learning rate"),
        (step("zero", "backward", "clip", "schedule", "step"), "schedule-first", "after the optimiser"),
        (step("backward", "clip", "zero", "step", "schedule"), "no-update", "before `backward()`"),
        (step("zero", "backward", "clip", "schedule"), "no-update", "`optimiser.step()`"),
        (step(*RIGHT, mode=False), "evaluation-mode", "dropout"),
        (step(*RIGHT, result=lambda loss: 2 * loss.item()), "loss", "before the update"),
        (step(*RIGHT, result=lambda loss: None), "no-return", "return"),
        (lambda model, batch, optimiser, scheduler, max_norm: 0.5, "no-forward", "never called"),
    ],
)
def test_training_step_rejects(answer, misconception, word):
    rejected("15.2", answer, misconception, word)


def clipped_by_hand(model, batch, optimiser, scheduler, max_norm=1.0, verbose=False):
    model.train()
    out = model(**batch)
    gradients = torch.autograd.grad(out.loss, list(model.parameters()))
    norm = torch.stack([g.norm() for g in gradients]).norm()
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient * min(1.0, max_norm / float(norm))
    optimiser.step()
    scheduler.step()
    return out.loss.detach()


@pytest.mark.parametrize(
    "answer",
    [clipped_by_hand, step(*RIGHT), step("backward", "clip", "step", "zero", "schedule", result=lambda x: x.detach())],
)
def test_training_step_accepts(answer):
    accepted("15.2", answer)


# --- 15.3 ---------------------------------------------------------------------------------------------------


def sweeping(grid=np.geomspace, seeds_of=list, choose=None, score=np.mean):
    def sweep(train, low, high, count, seeds):
        means = {float(r): float(score([train(float(r), s) for s in seeds_of(seeds)])) for r in grid(low, high, count)}
        if choose:
            return choose(means), means
        return max((r for r in means if not math.isnan(means[r])), key=means.get), means

    return sweep


def by_luck(train, low, high, count, seeds):
    runs = {float(r): [train(float(r), s) for s in seeds] for r in np.geomspace(low, high, count)}
    return max(runs, key=lambda r: np.nan_to_num(max(runs[r]))), {r: np.mean(v) for r, v in runs.items()}


def finite(means):
    return {rate: mean for rate, mean in means.items() if not math.isnan(mean)}


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (sweeping(grid=np.linspace), "linear", "same multiple"),
        (sweeping(grid=lambda a, b, n: np.geomspace(a, b, n, endpoint=False)), "without-the-end", "`high`"),
        (sweeping(grid=lambda a, b, n: np.geomspace(a, b, n + 2)), "grid", "asked for"),
        (sweeping(seeds_of=lambda seeds: seeds[:1]), "seeds", "chance"),
        (sweeping(seeds_of=lambda seeds: range(len(seeds))), "seeds", "chance"),
        (by_luck, "best-run", "by luck"),
        (sweeping(choose=lambda m: min(finite(m), key=m.get)), "lowest", "higher"),
        (sweeping(choose=lambda m: max(finite(m).values())), "score", "rate that has it"),
        (sweeping(choose=lambda m: list(m)[int(np.argmax(list(m.values())))]), "nan", "NaN"),
        (sweeping(choose=lambda m: max(m, key=m.get)), "nan", "`max`"),
        (sweeping(score=np.nanmean), "nan", "leaves NaN out"),
        (lambda train, low, high, count, seeds: (low, {}), "never-trained", "never called"),
        (lambda train, low, high, count, seeds: low, "wrong-type", "two things"),
    ],
)
def test_sweep_rejects(answer, misconception, word):
    rejected("15.3", answer, misconception, word)


def test_sweep_names_a_wrong_mean():
    def medians(train, low, high, count, seeds):
        best, means = sweeping()(train, low, high, count, seeds)
        return best, {rate: mean + 0.1 for rate, mean in means.items()}

    rejected("15.3", medians, "mean", "have the mean")


def by_multiplying(train, low, high, count, seeds, verbose=False):
    factor = (high / low) ** (1 / (count - 1))
    best, means = None, {}
    for i in range(count):
        rate = low * factor**i
        means[rate] = sum(train(rate, seed) for seed in seeds) / len(seeds)
        if not math.isnan(means[rate]) and (best is None or means[rate] > means[best]):
            best = rate
    return best, means


def with_logspace(train, low, high, count, seeds):
    rates = torch.logspace(math.log10(low), math.log10(high), count, dtype=torch.float64)
    table = torch.tensor([[train(rate.item(), seed) for rate in rates] for seed in seeds], dtype=torch.float64)
    means = table.mean(0)
    return rates[means.nan_to_num(-1.0).argmax()], dict(zip(rates.tolist(), means, strict=True))


@pytest.mark.parametrize("answer", [by_multiplying, with_logspace, sweeping()])
def test_sweep_accepts(answer):
    accepted("15.3", answer)


# --- 15.4 ---------------------------------------------------------------------------------------------------


def stopping(late=0, ties=False, neighbour=False, resets=True):
    def early_stopping(losses, patience):
        lowest, best, since = math.inf, 0, 0
        for epoch, loss in enumerate(losses, 1):
            against = losses[epoch - 2] if neighbour and epoch > 1 else lowest
            better = loss < against or (ties and loss == against)
            if loss < lowest or (ties and loss == lowest):
                lowest, best = loss, epoch
            since = (0 if resets else since) if better else since + 1
            if since >= patience + late:
                break
        return best, epoch

    return early_stopping


def looks_ahead(losses, patience):
    return int(np.argmin(losses)) + 1, stopping()(losses, patience)[1]


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (stopping(late=1), "one-too-late", "one epoch too late"),
        (stopping(late=-1), "one-too-early", "one epoch too early"),
        (stopping(ties=True), "ties", "equal loss"),
        (stopping(neighbour=True), "neighbour", "lowest loss so far"),
        (stopping(resets=False), "never-resets", "starts the count again"),
        (looks_ahead, "looks-ahead", "never trained"),
        (lambda losses, patience: tuple(n - 1 for n in stopping()(losses, patience)), "from-zero", "counted from 0"),
        (lambda losses, patience: (stopping()(losses, patience)[1],) * 2, "last-not-best", "lowest loss"),
        (lambda losses, patience: stopping()(losses, patience)[::-1], "order", "swapped"),
        (lambda losses, patience: (stopping()(losses, patience)[0], len(losses)), "never-stops", "nowhere"),
        (lambda losses, patience: (7, 9), "value", "you say 7, 9"),
        (lambda losses, patience: 2, "shape", "()"),
    ],
)
def test_early_stopping_rejects(answer, misconception, word):
    rejected("15.4", answer, misconception, word)


def with_running_minimum(losses, patience, min_delta=0.0):
    losses = np.array(losses)
    for last in range(1, len(losses) + 1):
        best = int(losses[:last].argmin()) + 1
        if last - best >= patience:
            break
    return np.array([best, last])


def with_recursion(losses, patience, epoch=1, best=1):
    if losses[epoch - 1] < losses[best - 1]:
        best = epoch
    if epoch - best >= patience or epoch == len(losses):
        return [best, epoch]
    return with_recursion(losses, patience, epoch + 1, best)


@pytest.mark.parametrize("answer", [with_running_minimum, with_recursion, stopping()])
def test_early_stopping_accepts(answer):
    accepted("15.4", answer)


# --- 15.5 ---------------------------------------------------------------------------------------------------


def table_by(order_of, loss_of=None, names=("label", "predicted"), shuffle=False, keep=None):
    """An error table in another order, with other losses, or with columns that went astray."""

    def error_table(texts, labels, logits, count):
        losses = F.cross_entropy(logits, labels, reduction="none")
        shown = losses if loss_of is None else loss_of(logits, labels)
        answers = logits.argmax(1)
        order = order_of(logits, labels, losses).argsort(descending=True)
        order = [i for i in order.tolist() if keep is None or keep(answers[i], labels[i])][:count]
        other = sorted(order) if shuffle else order
        return [
            {"text": texts[i], names[0]: int(labels[j]), names[1]: int(answers[j]), "loss": float(shown[j])}
            for i, j in zip(order, other, strict=True)
        ]

    return error_table


def by_loss(logits, labels, losses):
    return losses


def true_probability(logits, labels):
    return logits.softmax(1)[torch.arange(len(labels)), labels]


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (table_by(lambda z, y, losses: -losses), "ascending", "lowest loss"),
        (table_by(lambda z, y, losses: -z.softmax(1).max(1).values), "least-sure", "full conviction"),
        (table_by(lambda z, y, losses: z.softmax(1).max(1).values), "most-sure", "true label"),
        (table_by(lambda z, y, losses: -z[torch.arange(len(y)), y]), "no-softmax", "softmax first"),
        (table_by(by_loss, keep=lambda answer, label: answer != label), "only-errors", "by a hair"),
        (table_by(by_loss, lambda z, y: -true_probability(z, y).log2()), "base-2", "natural log"),
        (table_by(by_loss, lambda z, y: true_probability(z, y)), "probability", "negative logarithm"),
        (table_by(by_loss, lambda z, y: true_probability(z, y).log()), "sign", "minus that"),
        (table_by(by_loss, lambda z, y: 1 - true_probability(z, y)), "one-minus", "-log p"),
        (table_by(by_loss, names=("predicted", "label")), "swapped", "what people said"),
        (table_by(by_loss, shuffle=True), "misaligned", "columns together"),
        (lambda *given: table_by(by_loss)(*given)[::-1], "not-sorted", "highest loss comes first"),
        (lambda texts, labels, logits, count: table_by(by_loss)(texts, labels, logits, count - 1), "count", "rows"),
        (lambda *given: [{"loss": 1.0}], "missing", "'text'"),
        (lambda *given: 3, "wrong-type", "list of dictionaries"),
    ],
)
def test_error_table_rejects(answer, misconception, word):
    rejected("15.5", answer, misconception, word)


def in_numpy(texts, labels, logits, count, names=("negative", "positive")):
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    losses = -np.take_along_axis(log_p, labels[:, None], 1)[:, 0]
    rows = [
        {"text": t, "label": y, "predicted": z.argmax(), "loss": x, "more": 1}
        for t, y, z, x in zip(texts, labels, logits, losses, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row["loss"])[:count])


def with_pandas(texts, labels, logits, count):
    pandas = pytest.importorskip("pandas")
    losses = F.cross_entropy(logits, labels, reduction="none")
    columns = {"text": texts, "label": labels, "predicted": logits.argmax(1), "loss": losses}
    return pandas.DataFrame(columns).nlargest(count, "loss")


@pytest.mark.parametrize("answer", [in_numpy, with_pandas, table_by(by_loss)])
def test_error_table_accepts(answer):
    accepted("15.5", answer)


# --- all ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", list(REFERENCE))
def test_reference_and_blank(id):
    accepted(id, REFERENCE[id])

    def stub(*arguments, **keywords):
        """What is asked."""
        ...

    assert judge(id, stub).misconception == NOT_ATTEMPTED
