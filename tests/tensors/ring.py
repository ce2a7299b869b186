"""What each process of test_distributed.py runs, and what it found, as JSON.

Rows are those of one seeded batch, cut at the places given.
"""

import json
import os
import tempfile
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

size = int(os.environ["PROCESSES"])
CUTS = {
    2: {"even": [6, 6], "uneven": [9, 3], "none": [12, 0]},
    3: {"even": [4, 4, 4], "uneven": [7, 1, 4], "none": [5, 0, 7]},
}[size]


def batch(dtype=torch.float64, m=12):
    generator = torch.Generator().manual_seed(3)

    def draw(k):
        return torch.randn(k, 5, generator=generator, dtype=torch.float64).to(dtype)

    return draw(12), draw(m)


def expected(name, x, y, scale, bias, normalize):
    leaves = [t.double().clone().requires_grad_() for t in (x, y, scale, bias)]
    u, v, scale, bias = leaves
    if normalize:
        u, v = (t / t.norm(dim=1, keepdim=True) for t in (u, v))
    s = scale * u @ v.T
    if name == "info_nce":
        loss = (s.logsumexp(1) - s.diagonal()).mean()
    elif name == "clip_loss":
        loss = ((s.logsumexp(1) + s.logsumexp(0)) / 2 - s.diagonal()).mean()
    else:
        s = s + bias
        z = 2 * torch.eye(len(u), len(v), dtype=s.dtype) - 1
        loss = torch.nn.functional.softplus(-z * s).sum(1).mean()
    # times 0 more, so that InfoNCE has a gradient of the bias
    return loss.item(), torch.autograd.grad(loss + 0 * bias, leaves)


def off(a, b):
    return float((a.double() - b).abs().max() / (1e-300 + b.abs().max())) if b.numel() else 0.0


def mine(whole, rank, cut):
    first = sum(cut[:rank])
    return whole[first : first + cut[rank]].clone()


def one_case(name, cut, rank, dtype, normalize):
    import pairtile.torch.distributed as over

    x, y = batch(dtype)
    scale, bias = (torch.tensor(v, dtype=torch.float64) for v in (1.7, -0.8))
    value, right = expected(name, x, y, scale, bias, normalize)
    local = [mine(v, rank, cut).requires_grad_() for v in (x, y)]
    numbers = [v.clone().requires_grad_() for v in (scale, bias)]
    more = {"bias": numbers[1]} if name == "siglip_loss" else {}
    loss = getattr(over, name)(*local, logit_scale=numbers[0], normalize=normalize, **more)
    (3 * loss).backward()
    found = {"value": abs(loss.item() - value) / value}
    for side, got, whole in zip("xy", local, right[:2], strict=False):
        assert got.grad.dtype == dtype
        found[side] = off(got.grad / (3 * size), mine(whole, rank, cut))
    for side, got, whole in zip(("scale", "bias"), numbers, right[2:], strict=False):
        grad = torch.zeros_like(got) if got.grad is None else got.grad
        dist.all_reduce(grad)
        found[side] = off(grad / (3 * size), whole)
    with torch.no_grad():
        more = {one: v.detach() for one, v in more.items()}
        again = getattr(over, name)(
            *(v.detach() for v in local), logit_scale=1.7, normalize=normalize, **more
        )
    found["without gradients"] = abs(again.item() - value) / value
    return found


def tower(rank):
    """A model under DistributedDataParallel and the same in one process."""
    import pairtile.torch.distributed as over

    def towers():
        torch.manual_seed(1)
        return torch.nn.ModuleDict({"u": torch.nn.Linear(5, 4), "v": torch.nn.Linear(5, 4)})

    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.towers = towers()
            self.scale = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, x, y):
            return self.towers["u"](x), self.towers["v"](y), self.scale.exp()

    x, y = batch(torch.float32)
    alone = Both()
    u, v, scale = alone(x, y)
    s = scale * torch.nn.functional.normalize(u) @ torch.nn.functional.normalize(v).T
    ((s.logsumexp(1) + s.logsumexp(0)) / 2 - s.diagonal()).mean().backward()
    model = torch.nn.parallel.DistributedDataParallel(Both())
    cut = CUTS["uneven"]
    u, v, scale = model(mine(x, rank, cut), mine(y, rank, cut))
    over.clip_loss(u, v, logit_scale=scale, normalize=True).backward()
    return max(
        off(a.grad, b.grad.double())
        for a, b in zip(model.module.parameters(), alone.parameters(), strict=False)
    )


def separate(rank):
    """Losses far below what float32 keeps of their log-sum-exps."""
    import pairtile.torch.distributed as over

    x = 4 * torch.eye(12, dtype=torch.float32)
    value = torch.log1p(11 * torch.exp(torch.tensor(-16.0 * 1.2, dtype=torch.float64))).item()
    local = mine(x, rank, CUTS["uneven"])
    found = over.info_nce(local, local, logit_scale=1.2).item()
    return abs(found - value) / value


def more_columns(rank):
    import pairtile.torch.distributed as over

    x, y = batch(m=12)
    extra = torch.full((rank, 5), 0.3, dtype=torch.float64)
    every = torch.cat([torch.full((r, 5), 0.3, dtype=torch.float64) for r in range(size)])
    s = x @ torch.cat([y, every]).T
    value = (s.logsumexp(1) - s.diagonal()).mean().item()
    cut = CUTS["uneven"]
    local = mine(x, rank, cut), torch.cat([mine(y, rank, cut), extra])
    return abs(over.info_nce(*local, temperature=1.0).item() - value) / value


def rows_seen(rank):
    """The most rows that a function on arrays is given."""
    import pairtile.torch.distributed as over
    from pairtile._backends import choose

    most, plain = [], choose.module

    class Spy:
        def __init__(self, *arrays):
            self.module = plain(*arrays)

        def __getattr__(self, name):
            def call(x, y, *rest, **options):
                most.append(max(len(x), len(y)))
                return getattr(self.module, name)(x, y, *rest, **options)

            return call if name.startswith("softmax") else getattr(self.module, name)

    choose.module = Spy
    local = [mine(v, rank, CUTS["uneven"]).requires_grad_() for v in batch()]
    over.clip_loss(*local, temperature=1.0)
    choose.module = plain
    return max(most)


def options_of(name, case, rank, cut):
    """Keywords of this process, and of one process with all rows, with all that gets gradients."""
    generator = torch.Generator().manual_seed(5)
    whole = {}
    if "weights" in case:
        whole["weights"] = torch.rand(12, generator=generator, dtype=torch.float64)
        whole["weights"][3] = 0
    if "groups" in case:
        ids = torch.randint(5, (12,), generator=generator)
        whole["x_groups"] = ids
        whole["y_groups"] = torch.randint(6, (12,), generator=generator)
    if "names" in case:
        whole["x_groups"] = [f"g{i % 5}" for i in range(12)]
        whole["y_groups"] = ["g1", "g2", "other", "longer than these"] * 3
    if "logits" in case:
        logits = 300 + torch.randn(12, generator=generator, dtype=torch.float64)
        whole["column_logits"] = logits
    if "targets" in case:
        whole["targets"] = torch.randint(12, (12,), generator=generator)
        whole["targets"][[3, 8]] = -7
    if "scales" in case:
        whole["logit_scale"] = 1 + torch.rand(12, generator=generator, dtype=torch.float64)
    if "guide" in case:
        whole["x_guide"], noise = torch.randn((2, 12, 3), generator=generator, dtype=torch.float64)
        whole["y_guide"] = whole["x_guide"] + noise
    first, last = sum(cut[:rank]), sum(cut[: rank + 1])
    local = {one: v[first:last] for one, v in whole.items()}
    if "sparse" in case:
        chosen = torch.rand((12, 12), generator=generator, dtype=torch.float64)
        chosen = torch.where(chosen < 0.2, 1 + chosen, 0)
        whole["positive_weights"], local["positive_weights"] = (
            tuple(part.numpy() for part in (m.crow_indices(), m.col_indices(), m.values()))
            for m in (chosen.to_sparse_csr(), chosen[first:last].to_sparse_csr())
        )
    numbers = {
        "smoothing": {"label_smoothing": 0.2},
        "false": {"false_negative_margin": 0.4},
        "margin": {"margin": 0.3},
        "guide": {"guide_margin": 0.2},
        "relative": {"guide_margin_strategy": "relative"},
        "angle": {"angular_margin": 0.4, "normalize": True},
        "rows": {"direction": "rows"},
        "columns": {"direction": "columns"},
        "targets": {"ignore_index": -7},
        "debiased": {"tau_plus": 0.15},
        "heavily": {"tau_plus": 0.9},
        "top": {"top_negatives": 3},
        "most": {"top_negatives": 11},
    }
    both = {k: v for word, more in numbers.items() if word in case for k, v in more.items()}
    return {**local, **both}, {**whole, **both}


OPTIONS = {
    "info_nce": (
        "weights", "groups", "names", "logits", "smoothing", "false", "margin", "angle",
        "groups smoothing margin weights", "false smoothing logits weights", "targets",
        "targets smoothing weights scales", "debiased", "heavily", "debiased targets logits scales",
        "scales", "sparse", "sparse margin scales weights", "top", "top targets logits scales",
        "top groups", "top sparse smoothing", "most", "guide", "guide relative smoothing weights",
    ),
    "clip_loss": (
        "weights", "rows", "columns", "smoothing", "false", "columns false smoothing",
        "false smoothing weights", "scales", "scales columns smoothing", "guide",
        "guide columns weights", "guide relative smoothing", "guide rows",
    ),
    "siglip_loss": ("weights", "groups", "names weights", "scales groups"),
}  # fmt: skip


# Of directions and weights alone, which a GPU has a sweep of its own for.
SWEPT = {"info_nce": ("", "weights"), "clip_loss": ("weights", "rows weights", "columns")}
# For a simulator of a GPU, in which little takes long.
FEW = {
    "info_nce": (
        "targets smoothing weights scales", "debiased targets logits scales",
        "groups smoothing margin weights", "false smoothing logits", "top sparse smoothing",
    ),
    "clip_loss": ("false smoothing weights", "scales columns smoothing", "guide smoothing"),
    "siglip_loss": ("names weights", "scales groups"),
}  # fmt: skip


def leaf(value):
    return value.clone().requires_grad_()


def option_case(name, case, cut, rank, dtype, wanted):
    """Value and gradients beside those of the plain function of all rows, in float64."""
    import pairtile
    import pairtile.torch.distributed as over
    from backends import on_backend

    x, y = batch(dtype)
    local, whole = options_of(name, case, rank, cut)
    more = {"bias": -0.8} if name == "siglip_loss" else {}
    with on_backend("native"):
        right = getattr(pairtile, name)(
            x.double(), y.double(), grad=True, **{"logit_scale": 1.7, **whole, **more}
        )
    rows = {"x": mine(x, rank, cut), "y": mine(y, rank, cut)}
    scale = local.pop("logit_scale", torch.tensor(1.7, dtype=torch.float64))
    given = {**rows, **{one: v for one, v in local.items() if one == "weights"}, "scale": scale}
    leaves = {one: leaf(v) for one, v in given.items() if wanted is None or one in wanted}
    given |= leaves
    local |= {one: v for one, v in given.items() if one == "weights"}
    loss = getattr(over, name)(given["x"], given["y"], logit_scale=given["scale"], **local, **more)
    found = {"value": abs(loss.item() - right.loss) / abs(right.loss)}
    if loss.requires_grad:
        loss.backward()
    for one, got in leaves.items():
        expected = getattr(right, f"grad_{one}")
        if one == "scale" and not got.ndim:
            dist.all_reduce(got.grad)
            found[one] = abs(got.grad.item() / size - expected) / abs(expected)
        elif got.grad is not None or len(got):
            expected = torch.as_tensor(expected)
            reach = expected.abs().max()
            found[one] = float(
                ((got.grad.double() / size - mine(expected, rank, cut)).abs().max() / reach)
                if len(got)
                else 0.0
            )
    return found


def swept(rank):
    """What is computed of CUDA tensors where there are no options, of tensors on the host."""
    import pairtile.torch.distributed as over

    general, over.Softmax = over.Softmax, over.SoftmaxOnGpu
    found = [
        [
            name,
            case,
            which,
            "torch.float64",
            option_case(name, case, cut, rank, torch.float64, None),
        ]
        for name, cases in SWEPT.items()
        for case in cases
        for which, cut in CUTS.items()
    ]
    over.Softmax = general
    return found


def few(rank):
    """Some options on the backend that is chosen."""
    return [
        [
            name,
            case,
            "uneven",
            str(dtype),
            option_case(name, case, CUTS["uneven"], rank, dtype, None),
        ]
        for name, cases in FEW.items()
        for case in cases
        for dtype in (torch.float32, torch.float64)
    ]


def refusals(rank):
    import pairtile.torch.distributed as over

    x, y = (mine(v, rank, CUTS["even"]) for v in batch())
    said = []

    def tried(*rows, **options):
        try:
            over.info_nce(*rows, temperature=1.0, **options)
        except Exception as error:
            said.append([type(error).__name__, str(error)])
        else:
            said.append(["nothing", ""])

    tried(x * (float("nan") if rank == 1 else 1), y)
    tried(x[:, : 5 - rank], y[:, : 5 - rank])
    tried(x.float() if rank else x, y.float() if rank else y)
    tried(x, y, label_smoothing=0.1 * rank)
    tried(x, y, x_groups=[rank] * (len(x) - (rank == 1)))
    tried(x, y, x_groups=["a"] * len(x) if rank else [1] * len(x))
    tried(x, y, weights=torch.zeros(len(x)))
    tried(x, y, x_guide=x[:, : 3 + rank], y_guide=y[:, : 3 + rank])
    tried(x, y, x_guide=x, y_guide=y[rank == 1 :])
    tried(x, y, x_guide=x, y_guide=y, guide_margin=0.1 * rank)
    tried(x, y, x_guide=x, y_guide=y, targets=range(len(x)))
    local = x.clone().requires_grad_()
    loss = over.info_nce(local, y, temperature=1.0)
    (first,) = torch.autograd.grad(loss, local, create_graph=True)
    try:
        first.sum().backward()
    except RuntimeError as error:
        said.append(["RuntimeError", str(error)])
    group = dist.new_group(list(range(size)))
    said.append(over.info_nce(x, y, temperature=1.0, group=group).item())
    return said


def work(rank, folder):
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.distributed, about itself
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size
        )
        if os.environ.get("CASES") == "few":
            found = {"options": few(rank)}
            dist.destroy_process_group()
            Path(folder, f"{rank}.json").write_text(json.dumps(found))
            return
        found = {
            "cases": [],
            "options": [],
            "tower": tower(rank),
            "separate": separate(rank),
            "more columns": more_columns(rank),
            "rows": rows_seen(rank),
            "swept": swept(rank),
            "refusals": refusals(rank),
        }
        for name in ("info_nce", "clip_loss", "siglip_loss"):
            for which, cut in CUTS.items():
                for dtype in (torch.float32, torch.float64):
                    for normalize in (False, True):
                        off = one_case(name, cut, rank, dtype, normalize)
                        found["cases"].append([name, which, str(dtype), normalize, off])
        for name, cases in OPTIONS.items():
            for case in cases:
                for which, cut in CUTS.items():
                    for dtype in (torch.float32, torch.float64):
                        off = option_case(name, case, cut, rank, dtype, None)
                        found["options"].append([name, case, which, str(dtype), off])
                for wanted in ("x", "y", "scale", ""):
                    off = option_case(name, case, CUTS["uneven"], rank, torch.float64, wanted)
                    found["options"].append([name, case, f"only {wanted}", "torch.float64", off])
        dist.destroy_process_group()
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(work, (folder,), nprocs=size, start_method="fork")
        print(
            json.dumps(
                [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(size)]
            )
        )
