"""Data-parallel training: shares against torch's sampler, gradients against one process, and every way of failing."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DistributedSampler

from course_lib import data_parallel
from course_lib.data_parallel import WorkerError, processes, shares


@pytest.mark.parametrize("num_examples", [1, 2, 7, 11, 24, 97])
@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 13])
@pytest.mark.parametrize("shuffle", [True, False])
def test_shares_are_those_of_the_distributed_sampler(num_examples, world_size, shuffle):
    for seed, epoch in ((0, 0), (3, 0), (3, 5)):
        found = shares(num_examples, world_size, seed=seed, epoch=epoch, shuffle=shuffle)
        for rank in range(world_size):
            sampler = DistributedSampler(range(num_examples), world_size, rank, shuffle=shuffle, seed=seed)
            sampler.set_epoch(epoch)
            assert found[rank] == list(sampler)


@pytest.mark.parametrize(("num_examples", "world_size"), [(0, 2), (5, 0), (-1, 1)])
def test_shares_of_nothing(num_examples, world_size):
    with pytest.raises(ValueError, match=f"num_examples={num_examples} and world_size={world_size}"):
        shares(num_examples, world_size)


# --- workers: each is sent to other processes as text, so it imports what it uses ------------------------------


def averaged(rank, world_size, x, y, weight):
    import torch
    from torch import nn

    from course_lib import data_parallel

    model = nn.Linear(7, 1)
    model.load_state_dict(weight)
    (model(x[rank::world_size]).squeeze(1) - y[rank::world_size]).square().mean().backward()
    data_parallel.average_gradients(model)
    print(f"rank {rank} of {world_size} with {torch.get_num_threads()} thread")
    return model.weight.grad, model.bias.grad


def without_gradient(rank, world_size):
    from torch import nn

    from course_lib import data_parallel

    data_parallel.average_gradients(nn.Linear(2, 1))


def ends_itself(rank, world_size):
    import os

    import torch
    from torch import distributed

    if rank == world_size - 1:
        os._exit(9)
    distributed.all_reduce(torch.ones(1))


def raises(rank, world_size):
    import torch
    from torch import distributed

    if rank == 0:
        raise KeyError("label")
    distributed.all_reduce(torch.ones(1))


def waits(rank, world_size):
    import time

    time.sleep(600)


def number_of_descendants(rank, world_size):
    return rank


def test_three_processes_give_the_gradient_of_one_and_print_by_rank(capsys):
    generator = torch.Generator().manual_seed(5)
    x, y = torch.randn(33, 7, generator=generator), torch.randn(33, generator=generator)
    model = torch.nn.Linear(7, 1)
    (model(x).squeeze(1) - y).square().mean().backward()
    for weight, bias in data_parallel.run(averaged, 3, x, y, model.state_dict()):
        torch.testing.assert_close(weight, model.weight.grad, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(bias, model.bias.grad, atol=1e-6, rtol=1e-6)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"[rank {rank}] rank {rank} of 3 with 1 thread" for rank in range(3)]


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        (ends_itself, "rank 1 of 2 died with exit code 9 before it returned; the others were ended"),
        (raises, r"rank 0 of 2 raised KeyError: 'label' \(line 6 of raises\); the others were ended"),
        (without_gradient, r"weight has no gradient: call backward\(\) first"),
    ],
)
def test_a_failing_process_ends_all_with_its_cause(worker, message):
    with pytest.raises(WorkerError, match=message):
        data_parallel.run(worker, 2)
    assert not processes.multiprocessing.active_children()


def test_a_process_that_waits_for_ever_is_ended():
    with pytest.raises(WorkerError, match="no result from rank 0, 1 within 8 s"):
        data_parallel.run(waits, 2, timeout=8)
    assert not processes.multiprocessing.active_children()


def test_the_lost_connection_of_a_neighbour_is_not_the_cause():
    failures = {0: "rank 0 of 2 raised RuntimeError: Connection closed by peer", 1: "rank 1 of 2 died with exit code 9"}
    assert processes._first_cause(failures) == failures[1]
    assert processes._first_cause({0: failures[0]}) == failures[0]


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((number_of_descendants, 0), {}, "world_size=0 must be at least 1"),
        ((number_of_descendants, 1), {"timeout": 0}, "timeout=0 must be positive"),
        ((len, 1), {}, "no source text to send"),
    ],
)
def test_run_says_what_is_wrong_with_its_arguments(arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        data_parallel.run(*arguments, **keywords)


# --- the script ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    x = torch.randn(203, 11, generator=torch.Generator().manual_seed(0))
    save_file({"x": x, "y": (x[:, 0] > 0).long()}, folder / "data.safetensors")
    return folder / "data.safetensors"


def launch(data, out, *launcher, batch=64):
    command = [*launcher, "-m", "course_lib.data_parallel.train", "--data", data, "--out", out, "--batch", str(batch)]
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=170, env=environment)


def test_torchrun_trains_the_weights_of_one_process(data, tmp_path):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    one = launch(data, tmp_path / "one.safetensors")
    two = launch(data, tmp_path / "two.safetensors", *torchrun)
    assert one.stdout == "1 process(es), 64 examples each a step, 3 epochs\n", one.stderr
    assert two.stdout == "2 process(es), 32 examples each a step, 3 epochs\n", two.stderr
    expected, found = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=1e-5)


def test_a_batch_that_cannot_be_shared_is_named(data, tmp_path):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = launch(data, tmp_path / "out.safetensors", *torchrun, batch=63)
    assert done.returncode and "--batch 63 is not divisible by 2 processes" in done.stderr
    assert not (tmp_path / "out.safetensors").exists()
