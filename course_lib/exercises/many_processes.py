"""Notebook 18: dealing out examples, averaging gradients, a sampler to repair, traffic and memory."""

import itertools

import torch
from torch.nn import functional as F
from torch.utils.data import DistributedSampler

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, close, compare, function, number, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.many_processes"


def _ids(value, what: str) -> list[int]:
    """A list of whole numbers, from a list, tuple, range, array or tensor."""
    found = tensor(list(value) if isinstance(value, range) else value, what=what)
    reject_if(found.dim() != 1, f"{what} should be one list of numbers, not of shape {tuple(found.shape)}", "shape")
    return [int(one) for one in found.tolist()]


@exercise(
    "18.1",
    title="Deal out the examples",
    minutes=7,
    difficulty=2,
    hints=(
        "Deal as one deals cards: one to each process in turn. Which entries of `order` does process 0 get, which "
        "does 1?",
        "Process `rank` gets the entries rank, rank + world_size, rank + 2 · world_size, and so on. Before you "
        "deal, top "
        "the list up with its own first entries until its length is a multiple of world_size.",
        "`each = math.ceil(len(order) / world_size)`, `dealt = order + order[: each * world_size - len(order)]`, "
        "`return dealt[rank::world_size]`.",
    ),
    reference=f"{_HERE}:my_share",
)
def judge_my_share(answer):
    answer = function(answer, "my_share")
    for length, world_size in ((12, 3), (11, 2), (13, 5), (17, 4), (7, 1)):
        order = torch.randperm(length, generator=torch.Generator().manual_seed(length)).tolist()
        sampler = [DistributedSampler(range(length), world_size, rank, shuffle=False) for rank in range(world_size)]
        right = [[order[i] for i in one] for one in sampler]
        found = [_ids(call(answer, list(order), rank, world_size), "your share") for rank in range(world_size)]
        if found == right:
            continue
        case = f"of {length} examples for {world_size} processes"
        lengths = [len(one) for one in found]
        reject_if(
            found == [order[rank::world_size] for rank in range(world_size)],
            f"{case}, yours get {lengths}: a process with fewer takes fewer steps, and the others wait for it for "
            "ever. "
            "Top the list up with its first entries before you deal",
            "uneven",
        )
        whole = length // world_size * world_size
        reject_if(
            found == [order[:whole][rank::world_size] for rank in range(world_size)],
            f"{case}, nobody gets the last {length - whole}: top the list up instead of cutting it",
            "dropped",
        )
        each = -(-length // world_size)
        topped = (order * 2)[: each * world_size]
        blocks = [topped[rank * each : (rank + 1) * each] for rank in range(world_size)]
        plain_blocks = [order[rank * each : (rank + 1) * each] for rank in range(world_size)]
        reject_if(
            found in (blocks, plain_blocks),
            "you cut the list into blocks. Deal one to each in turn: then step 1 of all processes together is the "
            "beginning of `order`, as in a single process",
            "blocks",
        )
        reject_if(
            all(one == found[0] for one in found) and world_size > 1,
            "every process gets the same examples: use `rank`",
            "same-for-all",
        )
        last = [*order, *[order[-1]] * (each * world_size - length)]
        reject_if(
            found == [last[rank::world_size] for rank in range(world_size)],
            "you repeat the last entry; top the list up with its *first* entries, so that no example counts three "
            "times",
            "last-repeated",
        )
        raise Rejected(f"{case}, process 0 should get {right[0]} and gets {found[0]}", "value")
    return "as `DistributedSampler` deals: the same number for everybody, and nobody left out"


def _gradients(sizes: tuple[int, ...], seed: int):
    """(gradient of the mean over all, gradients of the processes' own means) of a small linear regression."""
    weight = random_tensor(seed, 5, dtype=torch.float64).requires_grad_()
    x, y = (random_tensor(seed + k, sum(sizes), *shape, dtype=torch.float64) for k, shape in ((1, (5,)), (2, ())))
    whole = torch.autograd.grad(F.mse_loss(x @ weight, y), weight)[0]
    parts = zip(x.split(sizes), y.split(sizes), strict=True)
    return whole, [torch.autograd.grad(F.mse_loss(a @ weight, b), weight)[0] for a, b in parts]


@exercise(
    "18.2",
    title="The uneven last batch",
    minutes=8,
    difficulty=3,
    hints=(
        "A process with 3 examples and one with 7: how much should the mean of each count for the mean of all 10?",
        "The mean over all is the sum over all divided by the number of all. A process's sum is its mean times its "
        "count.",
        "Weigh each gradient with `count / sum(counts)` and add them up.",
    ),
    reference=f"{_HERE}:combine",
)
def judge_combine(answer):
    answer = function(answer, "combine")
    for seed, sizes in enumerate(((4, 4), (7, 3), (2, 11, 5), (13, 1, 1, 6), (5,))):
        right, parts = _gradients(sizes, 31 * seed)
        found = tensor(call(answer, [part.clone() for part in parts], list(sizes)), right.shape)
        stacked = torch.stack(parts)
        weights = torch.tensor(sizes, dtype=torch.float64).unsqueeze(1)
        compare(
            found,
            right,
            [
                Mistake(
                    stacked.mean(0),
                    "mean-of-means",
                    f"for counts {sizes} you take the plain mean of the means, so an example in a small batch "
                    "counts more "
                    "than one in a large batch: weigh each gradient with its count",
                ),
                Mistake(
                    stacked.sum(0), "sum", "this is the sum of the gradients: the step would grow with the processes"
                ),
                Mistake(
                    (stacked * weights).sum(0),
                    "not-divided",
                    "weighed with the counts; divide by the sum of the counts",
                ),
                Mistake(
                    (stacked * weights).sum(0) / len(sizes),
                    "divided-by-processes",
                    "you divide by the number of processes; the weights are counts, so divide by the number of "
                    "examples",
                ),
            ],
            f"for counts {sizes} the gradient of the mean over all examples is another one",
        )
    return "the gradient of one process with all the examples"


@exercise(
    "18.3",
    title="Find the sampler's two bugs",
    minutes=8,
    difficulty=4,
    hints=(
        "Print the shares of both processes: which examples are in both, which in none? Then print two epochs.",
        "All processes must draw the *same* permutation, or their every-other-entries do not fit together. And another "
        "one in each epoch.",
        "The seed of the generator must depend on `seed` and `epoch`, and on nothing else: `seed + epoch`.",
    ),
    reference=f"{_HERE}:epoch_share",
    starts_broken=True,
)
def judge_epoch_share(answer):
    answer = function(answer, "epoch_share")
    for num_examples, world_size, seed in ((24, 2, 0), (35, 5, 3), (22, 11, 7)):
        epochs = []
        for epoch in range(4):
            ranks = range(world_size)
            shares = [_ids(call(answer, num_examples, rank, world_size, epoch, seed), "the share") for rank in ranks]
            again = [_ids(call(answer, num_examples, rank, world_size, epoch, seed), "the share") for rank in ranks]
            reject_if(
                shares != again,
                "two calls with the same arguments give other shares: draw from a generator with a fixed seed, not "
                "from "
                "the global one",
                "not-reproducible",
            )
            dealt = list(itertools.chain.from_iterable(shares))
            missing = num_examples - len(set(dealt) & set(range(num_examples)))
            twice = len(dealt) - len(set(dealt))
            reject_if(
                missing > 0 or twice > 0,
                f"{num_examples} examples, {world_size} processes, epoch {epoch}: {missing} examples are seen by "
                "nobody and "
                f"{twice} are dealt twice. Do all processes draw the same permutation?",
                "own-permutation",
            )
            reject_if(len({len(share) for share in shares}) > 1, "the shares are not equally long", "uneven")
            epochs.append(shares)
        reject_if(
            epochs[0] == epochs[1] == epochs[2],
            "every example is dealt once now, and every epoch has the same order: what changes from epoch to epoch?",
            "same-every-epoch",
        )
        reject_if(
            all(sorted(share) == share for share in epochs[0]),
            "the shares are in ascending order: shuffle",
            "not-shuffled",
        )
        other = [_ids(call(answer, num_examples, rank, world_size, 0, seed + 100), "the share") for rank in ranks]
        reject_if(other == epochs[0], "another `seed` gives the same shares: use it", "seed-ignored")
    return "one permutation for all processes, a new one in each epoch"


@exercise(
    "18.4",
    title="An honest accuracy",
    minutes=7,
    difficulty=3,
    hints=(
        "How many entries do the lists have together, and how many examples are there? Which entries are the extra "
        "ones?",
        "Put the entries back into the order of dealing: the first of each process, then the second of each, and "
        "so on. "
        "The repeated ones are at the end of that.",
        "`dealt = [one for turn in zip(*correct) for one in turn]`, then the mean of `dealt[:num_examples]`.",
    ),
    reference=f"{_HERE}:honest_accuracy",
)
def judge_honest_accuracy(answer):
    answer = function(answer, "honest_accuracy")
    for num_examples, world_size in ((7, 2), (13, 5), (10, 4), (11, 3), (9, 3)):
        generator = torch.Generator().manual_seed(num_examples)
        right = torch.rand(num_examples, generator=generator) < 0.5
        right[0], right[-1] = True, False  # what is dealt again differs from what is dealt last
        each = -(-num_examples // world_size)
        dealt = right.repeat(2)[: each * world_size]
        correct = [dealt[rank::world_size].tolist() for rank in range(world_size)]
        found = torch.tensor(number(call(answer, [list(one) for one in correct], num_examples)))
        case = f"{num_examples} examples, {world_size} processes"
        mistakes = [
            Mistake(
                dealt.double().mean(),
                "counted-twice",
                f"{case}: the examples that were dealt again count twice. Leave the extra ones at the end out",
            ),
            Mistake(
                dealt.double().sum() / num_examples,
                "counted-twice",
                f"{case}: you divide by the number of examples, but the extra ones are still among the right answers",
            ),
            Mistake(
                torch.tensor(list(itertools.chain.from_iterable(correct))[:num_examples]).double().mean(),
                "wrong-order",
                f"{case}: you cut the end of the last process's list. The extra entries are the last *dealt*: one "
                "each at "
                "the end of several lists",
            ),
            Mistake(right.double().sum(), "not-divided", "this is the number of right answers; divide it"),
        ]
        compare(
            found,
            right.double().mean(),
            mistakes,
            f"{case}: the accuracy is {right.double().mean():.3f}, not {found:.3f}",
        )
    return "every example counts once"


@exercise(
    "18.5",
    title="What travels round the ring",
    minutes=6,
    difficulty=3,
    hints=(
        "The vector is cut into world_size pieces. How long is a piece, and how many times does a process pass one on?",
        "N - 1 times while sums are being collected, N - 1 times while they are handed round, each time a piece of "
        "num_parameters / N numbers.",
        "`2 * (world_size - 1) / world_size * num_parameters`.",
    ),
    reference=f"{_HERE}:numbers_sent",
)
def judge_numbers_sent(answer):
    answer = function(answer, "numbers_sent")
    for parameters, processes in ((110_000_000, 8), (1_000_000, 2), (21, 3), (640, 64), (97, 1)):
        found = torch.tensor(number(call(answer, parameters, processes)), dtype=torch.float64)
        share = torch.tensor(parameters / processes, dtype=torch.float64)
        steps = processes - 1
        case = f"{parameters:,} parameters and {processes} processes"
        mistakes = [
            Mistake(steps * share, "one-round", f"{case}: that is the collecting; the finished sums go round as well"),
            Mistake(
                torch.tensor(2.0 * steps * parameters), "whole-vector", f"{case}: only a piece is passed on at a time"
            ),
            Mistake(
                torch.tensor(1.0 * steps * parameters),
                "to-everybody",
                f"{case}: that is sending the whole vector to everybody else; the ring sends pieces to one neighbour",
            ),
            Mistake(
                2.0 * processes * share,
                "one-step-too-many",
                f"{case}: a piece has visited everybody after {steps} steps, not after {processes}",
            ),
        ]
        reject_if(
            processes == 1 and not close(found, torch.tensor(0.0)), "a single process sends nothing", "single-process"
        )
        compare(found, 2 * steps * share, mistakes, f"{case}: it is not {found:.4g}")
    return "less than twice the parameters, however many processes there are"


@exercise(
    "18.6",
    title="Will it fit?",
    minutes=6,
    difficulty=2,
    hints=(
        "What does a process keep for each parameter while it trains with Adam?",
        "In float32: the weight (4 bytes), its gradient (4) and Adam's two running means (8). With DDP every "
        "process has "
        "all of it; fully sharded, each has one of world_size parts.",
        "`total = 16 * num_parameters`, divided by `world_size` only if `sharded`.",
    ),
    reference=f"{_HERE}:bytes_per_process",
)
def judge_bytes_per_process(answer):
    answer = function(answer, "bytes_per_process")
    for parameters, processes in ((109_482_240, 3), (7_000_000_000, 8), (1_000, 5)):
        for sharded in (False, True):
            found = torch.tensor(number(call(answer, parameters, processes, sharded)), dtype=torch.float64)
            part = torch.tensor(parameters / (processes if sharded else 1), dtype=torch.float64)
            other = torch.tensor(parameters / (1 if sharded else processes), dtype=torch.float64)
            mistakes = [
                Mistake(
                    4 * part,
                    "weights-only",
                    "that is the weights alone: training also keeps gradients and Adam's means",
                ),
                Mistake(
                    8 * part, "no-optimiser", "weights and gradients are in; Adam keeps two numbers more a parameter"
                ),
                Mistake(12 * part, "one-mean", "Adam keeps two running means: of the gradient and of its square"),
                Mistake(
                    16 * other,
                    "sharding",
                    "sharded, each process keeps a part"
                    if sharded
                    else "with DDP (sharded=False) every process keeps everything; nothing is divided",
                ),
            ]
            how = "sharded" if sharded else "not sharded"
            compare(
                found, 16 * part, mistakes, f"{parameters:,} parameters, {processes} processes, {how}: not {found:.4g}"
            )
    return "16 bytes a parameter in float32, before the activations"


quiz(
    "18",
    Question(
        "Two processes with 32 examples each take a step with DistributedDataParallel. Which single-process step "
        "is it?",
        (
            Choice("One with the 64 examples together", "Right: equally large means average to the mean over all."),
            Choice(
                "One with 32 examples", "Each process alone has 32, but their gradients are averaged before the step."
            ),
            Choice("Two with 32 examples each, one after the other", "There is one step; the weights move once."),
        ),
        0,
    ),
    Question(
        "What do the processes send each other in every step?",
        (
            Choice("Their weights", "Only once, at the start. Then equal weights and equal gradients stay equal."),
            Choice("Their examples", "The examples stay where they are; that is why it scales."),
            Choice("Their gradients", "Right: an all-reduce leaves the mean of them on every process."),
        ),
        2,
    ),
    Question(
        "`set_epoch` was forgotten. What happens?",
        (
            Choice("An error", "Nothing complains, which is why the bug is common."),
            Choice(
                "Every epoch has the order of the first",
                "Right: the sampler's seed is `seed + epoch`, and epoch stays 0.",
            ),
            Choice("Processes see each other's examples", "That takes seeds that differ from process to process."),
        ),
        1,
    ),
    Question(
        "One process of eight dies in the middle of an epoch. What do the other seven do?",
        (
            Choice("Finish the epoch without it", "They need its part of the sum in the next all-reduce."),
            Choice(
                "Wait in the next all-reduce until a time limit ends them",
                "Right, or they notice the broken connection. So launchers watch their processes and end all of them.",
            ),
            Choice("Take over its examples", "Nobody redistributes them; one restarts from the last checkpoint."),
        ),
        1,
    ),
    Question(
        "A model's weights, gradients and optimiser state do not fit on one device. What helps?",
        (
            Choice("DistributedDataParallel on more devices", "Each device still holds all of it."),
            Choice("A smaller batch", "That makes the activations smaller; these three stay as they are."),
            Choice(
                "Sharding them over the devices (FSDP)",
                "Right: each keeps a part and gathers a layer when it needs it.",
            ),
        ),
        2,
    ),
)
