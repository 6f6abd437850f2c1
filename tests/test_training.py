"""The loop, its losses and schedules, against torch, transformers and the formulas."""

import math

import pytest
import torch
import transformers
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F

from course_lib import training

LOGITS = torch.randn(5, 7, 11, generator=torch.Generator().manual_seed(3))
LABELS = torch.randint(11, (5, 7), generator=torch.Generator().manual_seed(4))
LABELS[1, 2:5] = -100
LABELS[4] = -100


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_and_its_gradient_are_torchs(label_smoothing):
    ours, theirs = (LOGITS.clone().requires_grad_() for _ in range(2))
    loss = training.cross_entropy(ours, LABELS, label_smoothing=label_smoothing)
    expected = F.cross_entropy(
        theirs.flatten(0, 1), LABELS.flatten(), ignore_index=-100, label_smoothing=label_smoothing
    )
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_label_smoothing_is_the_divergence_from_the_smoothed_target():
    target = torch.full((11,), 0.2 / 11)
    target[3] += 0.8
    expected = -(target * LOGITS[0, 0].log_softmax(-1)).sum()
    loss = training.cross_entropy(LOGITS[0, 0], torch.tensor(3), label_smoothing=0.2)
    torch.testing.assert_close(loss, expected)


def test_cross_entropy_ignores_another_id():
    labels = LABELS.masked_fill(LABELS == -100, 5)
    expected = F.cross_entropy(LOGITS.flatten(0, 1), labels.flatten(), ignore_index=5)
    torch.testing.assert_close(training.cross_entropy(LOGITS, labels, ignore=5), expected)


def test_cross_entropy_rejects_bad_input():
    with pytest.raises(ValueError, match=r"logits \[5, 7, 11\] do not match labels \[7, 5\]"):
        training.cross_entropy(LOGITS, LABELS.T)
    with pytest.raises(ValueError, match=r"label_smoothing=1\.5"):
        training.cross_entropy(LOGITS, LABELS, label_smoothing=1.5)
    with pytest.raises(ValueError, match="every label is -100"):
        training.cross_entropy(LOGITS, torch.full_like(LABELS, -100))
    for outside in (11, -1):
        with pytest.raises(ValueError, match=rf"label {outside} is outside the vocabulary of 11 \(0 to 10\).*-100"):
            training.cross_entropy(LOGITS, torch.full_like(LABELS, outside))
    for dtype in (torch.float, torch.bool):
        with pytest.raises(TypeError, match=f"labels must be integers.*{dtype}"):
            training.cross_entropy(LOGITS, torch.ones_like(LABELS, dtype=dtype))


def test_warmup_schedule_is_equation_3():
    schedule = training.warmup_schedule(d_model=512, warmup_steps=4000)
    for step in (1, 7, 3999, 4000, 4001, 100_000):
        expected = (1 / math.sqrt(512)) * (step / (4000 * math.sqrt(4000)) if step < 4000 else 1 / math.sqrt(step))
        assert schedule(step) == pytest.approx(expected, rel=1e-12)
    assert schedule(4000) == pytest.approx(7e-4, rel=0.01)  # the paper's peak for its base model


def torch_factors(make, steps: int) -> list[float]:
    """Factors of the learning rate that a scheduler of torch gives, from its step 0 on."""
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimiser)
    factors = []
    for _ in range(steps):
        factors.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return factors


@pytest.mark.parametrize("warmup_steps", [0, 1, 13])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (training.linear_schedule, transformers.get_linear_schedule_with_warmup),
        (training.cosine_schedule, transformers.get_cosine_schedule_with_warmup),
    ],
)
def test_linear_and_cosine_schedules_are_those_of_transformers(ours, theirs, warmup_steps):
    expected = torch_factors(lambda optimiser: theirs(optimiser, warmup_steps, 53), 54)
    schedule = ours(53, warmup_steps)
    assert [schedule(step) for step in range(54)] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rise", [0.1, 0.3, 0.62])
def test_one_cycle_is_torchs(rise):
    def make(optimiser):
        return torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.0, total_steps=47, pct_start=rise, cycle_momentum=False)

    expected = torch_factors(make, 46)
    schedule = training.one_cycle_schedule(47, rise)
    assert [schedule(step) for step in range(1, 47)] == pytest.approx(expected, rel=1e-9)
    assert schedule(47) == pytest.approx(1 / 250_000)
    assert max(schedule(step) for step in range(1, 48)) <= 1


def test_schedules_reject_bad_lengths():
    with pytest.raises(ValueError, match="total_steps=0"):
        training.linear_schedule(0)
    with pytest.raises(ValueError, match="warmup_steps=10 must be at least 0 and less than total_steps=10"):
        training.cosine_schedule(10, 10)
    with pytest.raises(ValueError, match=r"rise=1\.0"):
        training.one_cycle_schedule(10, 1.0)
    with pytest.raises(ValueError, match="warmup_steps=0"):
        training.warmup_schedule(8, 0)
    with pytest.raises(ValueError, match="step=0 must be a whole number, at least 1"):
        training.warmup_schedule(8, 4)(0)


class Net(nn.Module):
    def __init__(self, dropout: float = 0.3):
        super().__init__()
        self.embedding = nn.Embedding(13, 5)
        self.hidden = nn.Linear(5, 7)
        self.norm = nn.LayerNorm(7)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(7, 3)

    def forward(self, ids):
        return self.head(self.dropout(self.norm(torch.relu(self.hidden(self.embedding(ids))))))


def test_biases_and_norms_are_not_decayed():
    model = Net()
    groups = training.parameter_groups(model, 0.1, 0.01)
    assert sorted(group["weight_decay"] for group in groups) == [0.0, 0.01]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {"embedding.weight", "hidden.weight", "head.weight"}
    assert sum(len(group["params"]) for group in groups) == len(names)
    assert {group["lr"] for group in groups} == {0.1}


def test_lower_layers_learn_more_slowly():
    model = Net()
    layers = {"embedding": 0, "hidden": 1, "norm": 1, "head": 2}
    groups = training.parameter_groups(
        model, 0.1, 0.01, layer_of=lambda name: layers[name.split(".")[0]], layer_decay=0.5
    )
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        expected = {"embedding": 0.025, "hidden": 0.05, "norm": 0.05, "head": 0.1}[name.split(".")[0]]
        assert rates[id(parameter)] == pytest.approx(expected)


def test_parameter_groups_leave_frozen_ones_out_and_reject_bad_input():
    model = Net()
    model.embedding.requires_grad_(False)
    trained = [p for group in training.parameter_groups(model, 0.1) for p in group["params"]]
    assert not any(p is model.embedding.weight for p in trained)
    with pytest.raises(ValueError, match="needs layer_of"):
        training.parameter_groups(model, 0.1, layer_decay=0.9)
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter to train"):
        training.parameter_groups(model, 0.1)


def new_run(seed: int = 0):
    torch.manual_seed(seed)
    model = Net()
    return model, torch.optim.AdamW(training.parameter_groups(model, 0.02, 0.1))


def batches(epoch: int):
    generator = torch.Generator().manual_seed(100 + epoch)
    for _ in range(5):
        ids = torch.randint(13, (17,), generator=generator)
        yield ids, ids % 3


def loss_fn(model, batch):
    ids, labels = batch
    return training.cross_entropy(model(ids), labels)


def test_fit_is_the_loop_written_out():
    model, optimiser = new_run()
    history = training.fit(
        model, batches, loss_fn, optimiser, epochs=3, clip=0.5, seed=5, schedule=training.linear_schedule(15, 4)
    )
    model, optimiser = new_run()
    torch.manual_seed(5)
    model.train()
    losses, norms, rates, step = [], [], [], 0
    for epoch in range(3):
        for ids, labels in batches(epoch):
            step += 1
            rate = 0.02 * min(step / 4, (15 - step) / 11)
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad()
            loss = F.cross_entropy(model(ids), labels)
            loss.backward()
            norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
            for p in model.parameters():
                p.grad *= min(1.0, 0.5 / (norm.item() + 1e-6))
            optimiser.step()
            losses.append(loss.item())
            norms.append(norm.item())
            rates.append(rate)
    assert history.losses == pytest.approx(losses, rel=1e-5)
    assert history.gradient_norms == pytest.approx(norms, rel=1e-4)
    assert history.learning_rates == pytest.approx(rates)
    assert history.steps == 15
    assert any(norm > 0.5 for norm in norms)
    assert min(history.losses[-5:]) < history.losses[0]


def test_the_same_seed_gives_the_same_losses_and_another_seed_others():
    runs = []
    for seed in (1, 1, 2):
        model, optimiser = new_run()
        runs.append(training.fit(model, batches, loss_fn, optimiser, steps=7, seed=seed).losses)
    assert runs[0] == runs[1] != runs[2]


def test_fit_leaves_chance_rates_and_mode_in_order():
    model, optimiser = new_run()
    state = torch.get_rng_state()
    training.fit(model, batches, loss_fn, optimiser, steps=3, schedule=lambda step: 0.1)
    assert torch.equal(torch.get_rng_state(), state)
    assert {group["lr"] for group in optimiser.param_groups} == {0.02}
    assert not model.training


def test_clipping_can_be_switched_off():
    model, _ = new_run()
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    before = [p.detach().clone() for p in model.parameters()]

    def steep(model, batch):
        return 1000 * loss_fn(model, batch)

    norm = training.fit(model, batches, steep, sgd, steps=1, clip=None).gradient_norms[0]
    moved = torch.cat([(p - q).detach().flatten() for p, q in zip(model.parameters(), before, strict=True)]).norm()
    assert norm > 100
    assert moved == pytest.approx(norm, rel=1e-3)


@pytest.mark.parametrize("interrupted_at", [1, 5, 7, 10])
def test_resuming_gives_the_losses_of_an_uninterrupted_run(tmp_path, interrupted_at):
    settings = {"seed": 3, "schedule": training.cosine_schedule(13, 3)}
    model, optimiser = new_run()
    whole = training.fit(model, batches, loss_fn, optimiser, steps=13, **settings)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    path = tmp_path / "run" / "checkpoint.safetensors"
    model, optimiser = new_run()
    training.fit(model, batches, loss_fn, optimiser, steps=interrupted_at, checkpoint_path=path, **settings)
    torch.manual_seed(77)
    model, optimiser = new_run(seed=9)
    resumed = training.fit(model, batches, loss_fn, optimiser, steps=13, checkpoint_path=path, resume=True, **settings)
    assert resumed == whole
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_resuming_is_exact_when_making_a_batch_uses_chance(tmp_path):
    def noisy(epoch):
        for ids, labels in batches(epoch):
            yield torch.where(torch.rand(17) < 0.2, 0, ids), labels

    model, optimiser = new_run()
    whole = training.fit(model, noisy, loss_fn, optimiser, epochs=3)
    path = tmp_path / "c.safetensors"
    model, optimiser = new_run()
    training.fit(model, noisy, loss_fn, optimiser, steps=8, checkpoint_path=path)
    model, optimiser = new_run()
    assert training.fit(model, noisy, loss_fn, optimiser, epochs=3, checkpoint_path=path, resume=True) == whole


@pytest.mark.parametrize("make", [
    lambda p: torch.optim.SGD(p, lr=0.1),
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: torch.optim.NAdam(p, lr=0.01),
])  # fmt: skip
def test_resuming_works_for_other_optimisers_and_tied_weights(tmp_path, make):
    def tied():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Embedding(13, 5), nn.Dropout(0.2), nn.Linear(5, 13, bias=False))
        model[2].weight = model[0].weight
        return model, make(model.parameters())

    path = tmp_path / "c.safetensors"
    model, optimiser = tied()
    whole = training.fit(model, batches, loss_fn, optimiser, steps=9)
    model, optimiser = tied()
    training.fit(model, batches, loss_fn, optimiser, steps=4, checkpoint_path=path)
    model, optimiser = tied()
    assert training.fit(model, batches, loss_fn, optimiser, steps=9, checkpoint_path=path, resume=True) == whole


def test_a_finished_run_resumes_to_itself(tmp_path):
    path = tmp_path / "c.safetensors"
    model, optimiser = new_run()
    whole = training.fit(model, batches, loss_fn, optimiser, epochs=2, checkpoint_path=path)
    again = training.fit(*[new_run()[0], batches, loss_fn], new_run()[1], epochs=2, checkpoint_path=path, resume=True)
    assert again == whole


def test_checkpoints_are_written_every_so_often_and_at_the_end(tmp_path):
    path = tmp_path / "c.safetensors"
    model, optimiser = new_run()
    written = []

    def watch(model, batch):
        if path.is_file():
            with safe_open(path, framework="pt") as file:
                written.append(len(file.get_tensor("history.losses")))
        return loss_fn(model, batch)

    training.fit(model, batches, watch, optimiser, steps=8, checkpoint_path=path, checkpoint_every=3)
    assert written == [3, 3, 3, 6, 6]
    with safe_open(path, framework="pt") as file:
        assert len(file.get_tensor("history.losses")) == 8
        torch.testing.assert_close(file.get_tensor("model.head.bias"), model.head.bias.detach())


def test_a_failing_write_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    model, optimiser = new_run()
    training.fit(model, batches, loss_fn, optimiser, steps=2, checkpoint_path=path)
    before = path.read_bytes()

    def full_disk(tensors, name, metadata):
        name.write_bytes(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(training, "save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        training.fit(model, batches, loss_fn, optimiser, steps=2, checkpoint_path=path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_checkpoint_of_another_run_is_rejected(tmp_path):
    path = tmp_path / "c.safetensors"
    model, optimiser = new_run()
    with pytest.raises(FileNotFoundError, match=r"no checkpoint c\.safetensors to resume from"):
        training.fit(model, batches, loss_fn, optimiser, steps=2, checkpoint_path=path, resume=True)
    training.fit(model, batches, loss_fn, optimiser, steps=2, checkpoint_path=path)
    with pytest.raises(ValueError, match="written with seed=0, this run has seed=1"):
        training.fit(model, batches, loss_fn, optimiser, steps=3, seed=1, checkpoint_path=path, resume=True)
    sgd = torch.optim.SGD(model.parameters(), lr=0.02)
    with pytest.raises(ValueError, match="optimiser=AdamW, this run has optimiser=SGD"):
        training.fit(model, batches, loss_fn, sgd, steps=3, checkpoint_path=path, resume=True)
    other_rate = torch.optim.AdamW(training.parameter_groups(model, 0.03, 0.1))
    with pytest.raises(ValueError, match=r"0\.02.*this run has.*0\.03"):
        training.fit(model, batches, loss_fn, other_rate, steps=3, checkpoint_path=path, resume=True)
    foreign = tmp_path / "foreign.safetensors"
    training.save_file({"x": torch.zeros(2)}, foreign)
    with pytest.raises(ValueError, match="was not written by fit"):
        training.fit(model, batches, loss_fn, optimiser, steps=3, checkpoint_path=foreign, resume=True)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_names_the_step(value):
    model, optimiser = new_run()
    calls = []

    def breaks(model, batch):
        calls.append(1)
        return loss_fn(model, batch) * (value if len(calls) == 4 else 1)

    with pytest.raises(FloatingPointError, match=rf"the loss is {value} at step 4 \(learning rate 0\.02\)"):
        training.fit(model, batches, breaks, optimiser, steps=9)
    assert {group["lr"] for group in optimiser.param_groups} == {0.02}


def test_a_gradient_that_is_no_number_is_not_applied():
    model, optimiser = new_run()
    before = [p.detach().clone() for p in model.parameters()]

    def infinite_slope(model, batch):
        zero = (model.head.bias * 0).sum()
        return loss_fn(model, batch) + zero.sqrt()

    with pytest.raises(FloatingPointError, match="norm of the gradient is nan at step 1"):
        training.fit(model, batches, infinite_slope, optimiser, steps=9)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_evaluation_happens_when_asked_and_changes_nothing():
    model, optimiser = new_run()
    plain = training.fit(model, batches, loss_fn, optimiser, steps=8).losses
    model, optimiser = new_run()
    seen = []

    def evaluate(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        seen.append(torch.rand(1).item())
        return {"accuracy": 0.5}

    history = training.fit(model, batches, loss_fn, optimiser, steps=8, evaluate=evaluate, evaluate_every=3)
    assert [step for step, _ in history.evaluations] == [3, 6, 8]
    assert history.losses == plain
    assert history.evaluations[0][1] == {"accuracy": 0.5}


def test_evaluations_survive_a_resumed_run(tmp_path):
    path = tmp_path / "c.safetensors"
    settings = {"evaluate": lambda model: {"bias": model.head.bias[0].item()}, "evaluate_every": 2}
    model, optimiser = new_run()
    whole = training.fit(model, batches, loss_fn, optimiser, steps=6, **settings)
    model, optimiser = new_run()
    training.fit(model, batches, loss_fn, optimiser, steps=4, checkpoint_path=path, **settings)
    model, optimiser = new_run()
    again = training.fit(model, batches, loss_fn, optimiser, steps=6, checkpoint_path=path, resume=True, **settings)
    assert again.evaluations == whole.evaluations


def test_batches_can_be_a_list_gone_through_again():
    model, optimiser = new_run()
    listed = list(batches(0))
    from_list = training.fit(model, listed, loss_fn, optimiser, epochs=2).losses
    model, optimiser = new_run()
    assert from_list == training.fit(model, lambda epoch: batches(0), loss_fn, optimiser, epochs=2).losses
    assert len(from_list) == 10


def test_bad_arguments_are_rejected(tmp_path):
    model, optimiser = new_run()

    def run(given=batches, loss=loss_fn, **settings):
        training.fit(model, given, loss, optimiser, **settings)

    with pytest.raises(ValueError, match="exactly one of them"):
        run()
    with pytest.raises(ValueError, match="exactly one of them"):
        run(steps=3, epochs=1)
    with pytest.raises(ValueError, match="steps=0"):
        run(steps=0)
    with pytest.raises(ValueError, match="epochs=-1"):
        run(epochs=-1)
    with pytest.raises(ValueError, match="clip=0"):
        run(steps=1, clip=0)
    with pytest.raises(ValueError, match="needs evaluate"):
        run(steps=1, evaluate_every=2)
    with pytest.raises(ValueError, match="need a checkpoint_path"):
        run(steps=1, resume=True)
    with pytest.raises(ValueError, match="need a checkpoint_path"):
        run(steps=1, checkpoint_every=1)
    with pytest.raises(ValueError, match="batches is an iterator"):
        run(batches(0), steps=1)
    with pytest.raises(ValueError, match="epoch 0 has no batches"):
        run([], steps=1)
    with pytest.raises(ValueError, match=r"shape \[17\]"):
        run(loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1], reduction="none"), steps=1)
    with pytest.raises(TypeError, match="loss_fn gave float: return the tensor"):
        run(loss=lambda model, batch: loss_fn(model, batch).item(), steps=1)
    with pytest.raises(ValueError, match="without a gradient: is it detached"):
        run(loss=lambda model, batch: loss_fn(model, batch).detach(), steps=1)
    with pytest.raises(ValueError, match=r"steps=1\.5 must be a whole number"):
        run(steps=1.5)
    with pytest.raises(ValueError, match="clip=nan must be positive"):
        run(steps=1, clip=math.nan)


@pytest.mark.parametrize("factor", [math.nan, math.inf, -0.1])
def test_a_schedule_that_gives_no_rate_is_refused_before_it_does_harm(factor):
    model, optimiser = new_run()
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=rf"schedule\(1\) is {factor}"):
        training.fit(model, batches, loss_fn, optimiser, steps=2, schedule=lambda step: factor)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert {group["lr"] for group in optimiser.param_groups} == {0.02}


def test_the_bar_is_off_unless_asked_for(capsys):
    model, optimiser = new_run()
    training.fit(model, batches, loss_fn, optimiser, steps=2)
    assert capsys.readouterr() == ("", "")
    training.fit(model, batches, loss_fn, optimiser, steps=2, progress=True)
    assert capsys.readouterr().err


def test_smoothed_losses_are_means_of_the_last_ones():
    history = training.History(losses=[4.0, 2.0, 6.0, 8.0])
    assert history.smoothed(2) == [4.0, 3.0, 4.0, 7.0]
    assert history.smoothed() == pytest.approx([4.0, 3.0, 4.0, 5.0])
    with pytest.raises(ValueError, match="window=0"):
        history.smoothed(0)
