import subprocess
import sys

import pytest

# Three processes add the same numbers in two arrangements, as a training and its resumption do, in order and with gloo's own way.
CODE = """
import sys
import torch
import torch.distributed as dist
from sightline.train.gradients import mean_in_order

class Bucket:
    def __init__(self, numbers):
        self.numbers = numbers
    def buffer(self):
        return self.numbers

def builtin(numbers):
    dist.all_reduce(numbers)
    return numbers / dist.get_world_size()

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=3)
numbers = torch.randn(300_000, generator=torch.Generator().manual_seed(rank))
for mean in (lambda numbers: mean_in_order(Bucket(numbers)).wait(), builtin):
    plain = mean(numbers.clone())
    arranged = mean(numbers.roll(100_001).clone()).roll(-100_001)
    print(torch.equal(plain, arranged), torch.allclose(plain, arranged, atol=1e-5), flush=True)
dist.destroy_process_group()
"""


def test_the_mean_of_gradients_does_not_depend_on_their_arrangement_and_the_builtin_one_does(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(rank), str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for rank in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in ranks]
    assert [output.splitlines() for output in outputs] == [["True True", "False True"]] * 3


@pytest.mark.parametrize(("backend", "world", "name"), [("gloo", 2, "DDPStrategy"), ("gloo", 3, "Ordered"), ("nccl", 4, "DDPStrategy")])
def test_two_processes_and_gpus_keep_the_builtin_way(backend, world, name):
    code = f"from sightline.train.gradients import make_strategy; print(type(make_strategy({backend!r}, {world})).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == name
