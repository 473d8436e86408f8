"""Real kernels: each is right or refuses, the measurement is of the kernel that was asked for, and bad input gets one line."""

import json
import math
import os
import re
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="real kernels need torch: make test-fused")
GPU = torch.cuda.is_available()
if not GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported: its kernels then run on the CPU

import simattn as sa
from simattn.gpu import auto, backend, call, jobs, measured, sdpa, timing
from simattn.gpu.catalogue import KERNELS
from simattn.gpu.counters import Profile
from simattn.gpu.inputs import Inputs, tensor
from simattn.reference.problem import Problem
from simattn.reference.real_kernels import counted
from simattn.reference.rounding import Rounding
from simattn.workbench.cases import Backward, Forward
from simattn.workbench.inputs import draw
from simattn.workbench.options import Options

DEVICE = "cuda" if GPU else "cpu"
HERE = [k for k in KERNELS.values() if k.unavailable() is None and DEVICE in k.devices]
LSE = {"float64": 1e-4, "float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-2}
SHAPES = {
    "dense": (2, 4, 4, 130, 130, 64, False), "causal": (1, 4, 4, 130, 130, 64, True), "grouped": (1, 6, 2, 70, 130, 64, False),
    "few queries, causal": (1, 2, 2, 30, 130, 128, True), "one query": (8, 16, 8, 1, 300, 128, True),
    "one query, one head each": (8, 16, 16, 1, 300, 64, False), "more queries than keys": (1, 2, 2, 50, 20, 32, True),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_table(tmp_path, monkeypatch):
    """No test reads or leaves a table of times."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(auto, "_chosen", {})
    monkeypatch.setattr(call, "_plans", {})


def case(shape, dtype, seed=0):
    """Q, K, V of a shape, and what they are held against."""
    batch, heads, kv_heads, n_q, n_k, d, causal = shape
    Q, K, V = draw(Problem(batch=batch, heads=heads, kv_heads=kv_heads, n_q=n_q, n_k=n_k, d=d, dtype=dtype, causal=causal), seed)
    return (Q, K, V), Forward(Q, K, V, Options.of(Q, K, causal=causal))


def inputs(Q, K, V, causal=False):
    """What a kernel is given."""
    return Inputs(*(tensor("x", a) for a in (Q, K, V)), causal and Q.shape[2] > 1, Q.shape[3] ** -0.5)


def assert_exact(run, of, dtype, rounding=None):
    """Rounding explains every element's error: in the bfloat16 of a row that sees few keys it may explain too much to say so."""
    truth, moments = of.bounded()
    found = of.judge(types.SimpleNamespace(output=run.output, lse=run.lse), truth, moments, rounding or Rounding())
    assert found.exact or (found.exact is None and dtype == "bfloat16" and found.error_over_bound <= 1), found
    assert of.error(run, truth).lse <= LSE[dtype]


@pytest.mark.parametrize("dtype", LSE)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", [k.name for k in HERE])
def test_every_kernel_is_exact_or_refuses(kernel, shape, dtype):
    """A kernel that takes the inputs errs by what rounding explains, in its lse, too; any other says why not, naming itself."""
    arrays, of = case(SHAPES[shape], dtype)
    options = {"kernel": kernel, "causal": SHAPES[shape][-1], "measure": False}
    x = inputs(*arrays, SHAPES[shape][-1])
    if KERNELS[kernel].why_not(x) is not None:
        with pytest.raises(sa.gpu.Unavailable, match=f"^kernel '{kernel}': [^\n]*$"):
            sa.gpu.attention(*arrays, **options)
        return
    run = sa.gpu.attention(*arrays, **options)
    assert (run.kernel, run.output.dtype, run.output.shape) == (kernel, arrays[0].dtype, arrays[0].shape)
    assert_exact(run, of, dtype, KERNELS[kernel].rounding(dtype))


def test_each_kernel_here_takes_the_plainest_inputs():
    """No kernel passes the test above by refusing everything."""
    x = {name: torch.zeros(1, 2, 1, 64, dtype=getattr(torch, name), device=DEVICE) for name in LSE}
    for kernel in HERE:
        call_ = sa.gpu.attention(*[x["float16"]] * 3, kernel=kernel.name, measure=False)
        assert call_.output.shape == (1, 2, 1, 64), kernel.name


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kernel", [k.name for k in HERE if k.backward])
def test_gradients_are_exact_or_refused(kernel, causal, dtype):
    """dQ, dK and dV of every kernel err by what rounding explains, heads shared or not."""
    for kv_heads in (4, 2):
        (Q, K, V), _ = case((1, 4, kv_heads, 96, 96, 64, causal), dtype)
        of = Backward(Q, K, V, Options.of(Q, K, causal=causal), None)
        try:
            run = sa.gpu.attention_backward(Q, K, V, of.dO, kernel=kernel, causal=causal, measure=False)
        except sa.gpu.Unavailable:
            continue
        rounding = KERNELS[kernel].rounding(dtype)
        found = of.judge(run, *of.bounded_by(rounding), rounding)
        assert found.exact or (found.exact is None and dtype == "bfloat16" and found.error_over_bound <= 1), (
            kernel,
            kv_heads,
            found,
        )
        assert [x.shape for x in run.outputs.values()] == [Q.shape, K.shape, V.shape]


TWINS = [k for k in HERE if k.name.startswith("triton")]


@pytest.mark.skipif(not TWINS, reason="needs triton")
@settings(max_examples=25 if GPU else 12)
@given(
    n_q=st.integers(1, 150), n_k=st.integers(1, 300), heads=st.sampled_from([(1, 1), (4, 2), (3, 1)]), d=st.sampled_from([16, 32, 64]),
    causal=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_the_twins_are_exact_at_any_length(n_q, n_k, heads, d, causal, seed):
    """The Triton kernels give the truth at lengths that no block divides, rows that see nothing included; split_kv takes few rows."""
    arrays, of = case((1, *heads, n_q, n_k, d, causal), "float16", seed)
    ran = 0
    for kernel in TWINS:
        try:
            run = sa.gpu.attention(*arrays, kernel=kernel.name, causal=causal, measure=False)
        except sa.gpu.Unavailable:
            continue
        ran += 1
        assert_exact(run, of, "float16")
    assert ran


@pytest.mark.skipif(not TWINS, reason="needs triton")
@pytest.mark.parametrize("splits", [1, 2, 5, 64])
def test_partial_results_merge_whatever_the_splits(splits):
    """split_kv's twin gives one answer for any number of splits, empty ones among them; at lengths one after another, too, which are
    launched as the first was compiled, whatever divides them."""
    from simattn.gpu.twins.split_kv import split_kv

    for n_k in (700, 1, 17, 1024, 333):
        (Q, K, V), of = case((1, 4, 2, 1, n_k, 64, False), "float16")
        with np.errstate(all="ignore"):  # of the interpreter
            O, lse = (y.cpu().numpy() for y in split_kv(inputs(Q, K, V), splits))
        assert_exact(types.SimpleNamespace(output=O, lse=lse), of, "float16")


@pytest.mark.skipif(not TWINS, reason="needs triton")
@pytest.mark.parametrize(("heads", "kv_heads", "n_k"), [(4, 4, 700), (8, 1, 5000), (12, 2, 9000)])
def test_the_twins_are_launched_as_they_are_counted(heads, kv_heads, n_k, monkeypatch):
    """The blocks and the splits of a launch are those of which the simulator counts the bytes."""
    from simattn.gpu.twins import flash2, split_kv

    h100, launched = sa.machine("h100-sxm"), {}
    monkeypatch.setattr(split_kv, "slots", lambda _: 2 * h100.sms)
    monkeypatch.setattr(split_kv, "launch", lambda kernel, _, grid, *rest, **__: launched.setdefault(kernel, (grid, rest)))
    monkeypatch.setattr(flash2, "shared_memory", lambda _: h100.shared_memory)
    w = Problem(heads=heads, kv_heads=kv_heads, n_q=1, n_k=n_k, d=64)
    x = jobs.tensors(w, DEVICE)
    split_kv.split_kv(x)
    (splits, *_), (*_, Br, Bc, _, _) = launched[split_kv.partial]
    assert counted("triton_split_kv", w, (), h100).algorithm == f"split_kv, Br = {Br}, Bc = {Bc}, splits = {splits}"
    for d in (64, 128):
        rows = []
        monkeypatch.setattr(flash2, "tiles", lambda _, r, rows=rows: rows.append(r))
        monkeypatch.setattr(flash2, "flash2_kernel", {(math.ceil(256 / 128), heads): lambda *_, **__: None})
        w = Problem(heads=heads, kv_heads=kv_heads, n_q=256, n_k=256, d=d)
        flash2.flash2(jobs.tensors(w, DEVICE))
        assert counted("triton_flash2", w, (), h100).algorithm == f"flash2, Br = {rows[0]}, Bc = {rows[1]}"


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from simattn.gpu.twins import flash2, split_kv

def ptx(kernel, constants, options, **types):
    names = list(kernel.arg_names)
    types |= {name: "constexpr" for name in constants}
    fixed = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, {name: types[name] for name in names}, fixed, {})
    compiled = compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert compiled.metadata.shared <= flash2.ROOMY, (kernel, constants, compiled.metadata.shared)
    return compiled.asm["ptx"]

number = {"N": "i32", "n_k": "i32", "scale": "fp32"}
for d, Bc in ((64, 64), (128, 128)):
    tile = {name: f"tensordesc<fp16[1, {rows}, {d}]>" for name, rows in dict(Q=128, K=Bc, V=Bc, O=128).items()}
    for causal in (False, True):
        code = ptx(flash2.flash2_kernel, dict(Br=128, Bc=Bc, d=d, d_v=d, CAUSAL=causal), dict(num_warps=8, num_stages=3), **tile, **number,
                   L="*fp32", offset="i32", group="i32")
        assert "wgmma" in code and "cp.async.bulk.tensor" in code and ".f64" not in code
    pointers = {"Q": "*fp16", "K": "*fp16", "V": "*fp16", "O_split": "*fp32", "L_split": "*fp32"}
    code = ptx(split_kv.partial, dict(Br=16, Bc=128, d=d, d_v=d), dict(num_warps=4, num_stages=3), **pointers, **number, chunk="i32")
    assert "mma.sync" in code and ".f64" not in code
    code = ptx(split_kv.combine, dict(d_v=d), dict(num_warps=1), O_split="*fp32", L_split="*fp32", O="*fp16", L="*fp32", N="i32", splits="i32")
    assert ".f64" not in code
"""


@pytest.mark.skipif(not TWINS, reason="needs triton")
def test_what_triton_refuses_is_one_line(monkeypatch):
    """A GPU with too little shared memory, say: the kernel, and what Triton says of it."""
    import triton

    from simattn.gpu.twins import flash2

    def refuse(_):
        raise triton.OutOfResources(300_000, 232_448, "shared memory")

    monkeypatch.setattr(flash2, "flash2", refuse)
    x = torch.zeros(1, 1, 8, 64, device=DEVICE, dtype=torch.float16)
    with pytest.raises(sa.gpu.Unavailable, match=r"^kernel 'triton_flash2': Triton says .*shared memory[^\n]*$"):
        sa.gpu.attention(x, x, x, kernel="triton_flash2", measure=False)


@pytest.mark.skipif(not TWINS, reason="needs triton")
def test_the_twins_compile_for_an_h100(tmp_path):
    """Without a GPU, too: what Triton's compiler refuses, its interpreter does not see. They use tensor cores and the tensor memory
    accelerator, and nothing in float64."""
    environment = {k: x for k, x in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("shape", [(40, 64), (2, 4, 40, 64)])
def test_outputs_come_back_as_the_inputs_came(shape):
    """NumPy arrays give NumPy arrays, tensors give tensors of their device, with or without batch and heads; bfloat16 stays bfloat16."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape, np.float32).astype(ml_dtypes.bfloat16) for _ in range(3)]
    tensors = [torch.tensor(x.astype(np.float32), device=DEVICE).to(torch.bfloat16) for x in arrays]
    one, two = (sa.gpu.attention(*x, measure=False) for x in (arrays, tensors))
    assert isinstance(one.output, np.ndarray)
    assert one.output.dtype == ml_dtypes.bfloat16
    assert one.output.shape == shape
    assert isinstance(two.output, torch.Tensor)
    assert two.output.device.type == DEVICE
    assert tuple(two.output.shape) == shape
    assert (one.output.astype(np.float32) == two.output.float().cpu().numpy()).all()
    assert one.lse.shape == shape[:-1]
    backward = sa.gpu.attention_backward(*arrays, arrays[0], measure=False)
    assert backward.output.shape == shape
    with pytest.raises(KeyError, match="no lse"):
        _ = backward.lse


def test_memory_grows_with_n_squared_only_where_scores_are_stored():
    """By measured peak memory, the unfused chain holds S; a fused kernel far less. Both say how long they took and what ran."""
    x = [torch.randn(1, 4, 2048, 64, device=DEVICE, dtype=torch.float16) for _ in range(3)]
    S = 4 * 2048 * 2048 * 2
    stored, fused = (sa.gpu.attention(*x, kernel=name) for name in ("unfused", "flash" if GPU else "cpu_flash"))
    assert stored.peak_bytes >= S
    assert fused.peak_bytes < S / 2
    assert stored.ms > 0
    assert fused.ms > 0
    assert any("flash" in name for name in fused.measured.launched)
    assert sa.gpu.attention(*x, kernel="unfused", measure=False).ms is None


def test_the_kernel_that_ran_is_verified(monkeypatch):
    """A kernel that launches something else than it is known by raises, and says what ran."""
    other = sdpa.Kernel(
        name="unfused",
        title="",
        devices=(DEVICE,),
        dtypes=("float32",),
        forward=KERNELS["math"].forward,
        launches="flash_fwd_kernel",
    )
    monkeypatch.setitem(KERNELS, "unfused", other)
    x = [torch.randn(1, 1, 32, 32, device=DEVICE) for _ in range(3)]
    with pytest.raises(RuntimeError, match="'unfused' was requested, but the kernels that ran are"):
        sa.gpu.attention(*x, kernel="unfused")


class TestAuto:
    """kernel="auto" measures once for each class of shapes, keeps what it measured, and takes the fastest."""

    def test_a_kernel_that_fails_is_passed_over(self, monkeypatch):
        """One candidate that raises costs the call nothing but its time; where all do, one line says so."""
        self.timed(monkeypatch, [1.0] * 4)

        def broken(_):
            raise RuntimeError("no")

        failing = {name: replace(k, forward=broken) for name, k in auto.KERNELS.items()}
        monkeypatch.setitem(auto.KERNELS, "math", failing["math"])
        x = [torch.randn(1, 2, 60, 32, device=DEVICE) for _ in range(3)]
        assert sa.gpu.attention(*x, measure=False).kernel == "unfused"
        monkeypatch.setattr(auto, "KERNELS", failing)
        with pytest.raises(sa.gpu.Unavailable, match="each failed"):
            sa.gpu.attention(*x, causal=True, measure=False)

    def timed(self, monkeypatch, milliseconds):
        seen = []

        def stub(call_, device):
            call_()
            seen.append(device)
            return milliseconds[len(seen) - 1]

        monkeypatch.setattr(auto, "milliseconds", stub)
        pair = [KERNELS[name] for name in ("math", "unfused")]
        monkeypatch.setattr(auto, "KERNELS", {k.name: k for k in pair})
        return seen

    def test_the_fastest_is_taken_and_remembered(self, monkeypatch, tmp_path):
        """The faster of two runs, without another measurement for the same class, in this process or by the table in the next."""
        seen = self.timed(monkeypatch, [2.0, 1.0, 1.0, 2.0])
        x = [torch.randn(1, 2, 60, 32, device=DEVICE) for _ in range(3)]
        assert sa.gpu.attention(*x, measure=False).kernel == "unfused"
        assert sa.gpu.attention(*(y[:, :, :50] for y in x), measure=False).kernel == "unfused"  # 50 and 60 are one class
        assert len(seen) == 2
        auto._chosen.clear(), call._plans.clear()
        assert sa.gpu.attention(*x, measure=False).kernel == "unfused"
        assert len(seen) == 2
        assert sa.gpu.attention(*x, causal=True, measure=False).kernel == "math"  # another class
        assert len(seen) == 4
        (table,) = (tmp_path / "simattn").iterdir()
        assert len(json.loads(table.read_text())) == 2

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": {"math": "x"}}'])
    def test_a_broken_table_is_measured_again(self, monkeypatch, tmp_path, content):
        """A table that cannot be read is replaced, not believed."""
        seen = self.timed(monkeypatch, [1.0, 2.0, 1.0, 2.0])
        x = [torch.randn(1, 2, 60, 32, device=DEVICE) for _ in range(3)]
        sa.gpu.attention(*x, measure=False)
        (table,) = (tmp_path / "simattn").iterdir()
        table.write_text(content)
        auto._chosen.clear(), call._plans.clear()
        assert sa.gpu.attention(*x, measure=False).kernel == "math"
        assert len(seen) == 4
        assert len(json.loads(table.read_text())) == 1

    def test_a_folder_that_cannot_be_written_to_does_no_harm(self, monkeypatch, tmp_path):
        """Without a place for the table, auto still chooses."""
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        self.timed(monkeypatch, [1.0, 2.0])
        x = [torch.randn(1, 2, 60, 32, device=DEVICE) for _ in range(3)]
        assert sa.gpu.attention(*x, measure=False).kernel == "math"

    def test_a_fused_kernel_is_preferred(self):
        """What stores its scores is not chosen while a fused kernel takes the inputs."""
        x = [torch.randn(1, 2, 16, 64, device=DEVICE, dtype=torch.float16) for _ in range(3)]
        assert KERNELS[sa.gpu.attention(*x, measure=False).kernel].fused


def stand_in(name, function):
    """A module that a package would bring, with its function."""
    module = types.ModuleType(name)
    setattr(module, function.__name__, function)
    module.__spec__ = types.SimpleNamespace(name=name)
    return module


def by_token(q, k, v, scale, causal):
    """Attention on (batch, N, heads, d), the last query seeing the last key: O of that layout, and lse (batch, heads, N)."""
    group = q.shape[2] // k.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q, k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)))
    S = q @ k.mT * scale
    if causal:
        n, m = S.shape[-2:]
        S = S.masked_fill(~torch.ones(n, m, dtype=torch.bool).tril(m - n), -torch.inf)
    return (S.softmax(-1) @ v).transpose(1, 2), S.logsumexp(-1)


@pytest.mark.parametrize("name", ["flash_attn_3", "flash_attn_4", "flashinfer"])
def test_other_packages_are_called_in_their_layout(name, monkeypatch):
    """A stand-in that takes and gives what the package documents (tokens before heads; FlashInfer one request a call, its lse to base
    2) yields the truth: the tensors are laid out, and laid back, right."""

    def flash_attn_func(q, k, v, *, softmax_scale, causal, return_attn_probs=False, return_lse=False):
        assert return_attn_probs or return_lse
        return by_token(q, k, v, softmax_scale, causal)

    def single_prefill_with_kv_cache(q, k, v, *, causal, kv_layout, sm_scale, return_lse):
        assert kv_layout == "NHD"
        assert return_lse
        O, lse = by_token(q[None], k[None], v[None], sm_scale, causal)
        return O[0], lse[0].T / np.log(2)

    function = single_prefill_with_kv_cache if name == "flashinfer" else flash_attn_func
    module = {"flash_attn_3": "flash_attn_interface", "flash_attn_4": "flash_attn.cute", "flashinfer": "flashinfer"}[name]
    if "." in module:
        monkeypatch.setitem(sys.modules, module.split(".", maxsplit=1)[0], types.ModuleType(module.split(".", maxsplit=1)[0]))
    monkeypatch.setitem(sys.modules, module, stand_in(module, function))
    (Q, K, V), of = case((2, 4, 2, 30, 50, 64, True), "float32")
    x = Inputs(*map(torch.tensor, (Q, K, V)), True, 64**-0.5)
    O, lse = (y.numpy() for y in KERNELS[name].forward(x))
    assert_exact(types.SimpleNamespace(output=O, lse=lse), of, "float32")


X = torch.zeros(1, 2, 8, 64, device=DEVICE)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        ((X, X[0], X), {}, ValueError, "give all as"),
        ((X[0, 0], X, X), {}, ValueError, "give all as"),
        ((X[0, 0, 0],) * 3, {}, ValueError, "give all as"),
        ((X, X[..., :32], X), {}, ValueError, "q and k share d"),
        ((X, X[:, :, :0], X[:, :, :0]), {}, ValueError, "no length may be 0"),
        ((X.repeat(1, 2, 1, 1)[:, :3], X, X), {}, ValueError, "3 heads cannot share 2"),
        ((X, X.double(), X), {}, TypeError, "they must be equal"),
        ((X.int(),) * 3, {}, TypeError, "int32"),
        ((np.zeros((8, 64), np.int64),) * 3, {}, TypeError, "int64"),
        (([1.0], X, X), {}, TypeError, "a list"),
        ((X, X, X), {"kernel": "flsh"}, ValueError, "did you mean 'flash'"),
        ((X, X.to("meta"), X), {}, ValueError, "one device"),
        ((X, X, X), {"scale": 0.0}, ValueError, "number above 0"),
        ((X, X, X), {"scale": -1}, ValueError, "number above 0"),
        ((X, X, X), {"scale": float("nan")}, ValueError, "number above 0"),
        ((X, X, X), {"scale": "wide"}, TypeError, "give a number"),
        ((X, X, X), {"kernel": ["flash"]}, TypeError, "give a name"),
        ((X.to_sparse(), X, X), {}, TypeError, "dense tensor"),
        ((np.ma.masked_array(np.zeros((8, 64))),) * 3, {}, TypeError, "MaskedArray"),
        ((X.to("meta"),) * 3, {"kernel": "math"}, sa.gpu.Unavailable, "runs on cpu and cuda"),
        ((X[..., :63],) * 3, {"kernel": "triton_flash2"}, sa.gpu.Unavailable, "it takes float16"),
        ((X.half()[..., :48],) * 3, {"kernel": "triton_flash2"}, sa.gpu.Unavailable, "pad with zeros|needs the package"),
        ((X.repeat(1, 1, 20, 1).half(),) * 3, {"kernel": "triton_split_kv"}, sa.gpu.Unavailable, "packs at most|needs the package"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_line(arguments, options, error, said):
    """Whatever does not fit raises an error that names the value and the remedy, in one line."""
    with pytest.raises(error, match=said) as raised:
        sa.gpu.attention(*arguments, **options, measure=False)
    assert "\n" not in str(raised.value)


def test_the_gradient_of_the_output_must_fit():
    """dO of another shape or type than O is refused."""
    for dO in (X[:, :1], X.double()):
        with pytest.raises(ValueError, match="give torch"):
            sa.gpu.attention_backward(X, X, X, dO, measure=False)


VIEWS = {
    "transposed": lambda x: x.mT.contiguous().mT, "every other": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "by token": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2), "misaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    "one for all rows": lambda x: x[:, :, :1].expand(x.shape),
}  # fmt: skip


@pytest.mark.parametrize("kernel", [k.name for k in HERE])
@pytest.mark.parametrize("view", VIEWS)
def test_how_a_tensor_lies_in_memory_changes_nothing(view, kernel):
    """Tensors of any strides and any first address give what their values give: output, lse and gradients."""
    dtype = torch.float16 if KERNELS[kernel].dtypes[0] == "float16" else torch.float32
    x = [torch.randn(1, 2, 1 if "split" in kernel else 40, 64, device=DEVICE).to(dtype) for _ in range(3)]
    views = [VIEWS[view](y) for y in x]
    plain = [y.clone(memory_format=torch.contiguous_format) for y in views]
    one, two = (sa.gpu.attention(*y, kernel=kernel, measure=False) for y in (views, plain))
    assert torch.equal(one.output, two.output)
    assert torch.equal(one.lse, two.lse)
    if KERNELS[kernel].backward:
        one, two = (sa.gpu.attention_backward(*y, y[0], kernel=kernel, measure=False) for y in (views, plain))
        assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(one.outputs.values(), two.outputs.values(), strict=True))


@pytest.mark.parametrize("kernel", [k.name for k in HERE if "float32" in k.dtypes])
def test_what_torch_is_set_to_changes_nothing(kernel):
    """Autocast, inference mode, another default type: the same numbers in the type of the inputs, forward and backward; and what is
    remembered from one mode serves the other."""
    (Q, K, V), of = case((1, 2, 2, 40, 40, 32, True), "float32")
    truth = Backward(Q, K, V, Options.of(Q, K, causal=True), Q)
    for context in (torch.inference_mode(), torch.autocast(DEVICE, torch.bfloat16), torch.no_grad()):
        sdpa._hidden.cache_clear()
        for mode in (context, torch.enable_grad()):
            with mode:
                run = sa.gpu.attention(Q, K, V, kernel=kernel, causal=True, measure=False)
                back = sa.gpu.attention_backward(Q, K, V, Q, kernel=kernel, causal=True, measure=False)
            assert run.output.dtype == np.float32
            assert_exact(run, of, "float32", KERNELS[kernel].rounding("float32"))
            assert truth.error(back, truth.truth()).max_abs < 1e-5


def test_the_lse_is_of_the_inputs_that_were_given():
    """Who changes a tensor after the call does not change the lse, of a kernel that returns none either."""
    q = torch.randn(1, 2, 40, 32, device=DEVICE)
    run = sa.gpu.attention(q, q, q, kernel="unfused", measure=False)
    expected = (q @ q.mT * 32**-0.5).logsumexp(-1)
    q.zero_()
    assert torch.allclose(run.lse, expected, atol=1e-4)


def test_measuring_waits_its_turn():
    """Threads measure one after another; within somebody else's profiler nothing is measured, and it says so."""
    x = torch.randn(1, 1, 32, 32, device=DEVICE)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: sa.gpu.attention(x, x, x, kernel="unfused"), range(4)))
    assert all(run.ms > 0 for run in runs)
    with (
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]),
        pytest.raises(sa.gpu.Unavailable, match="measure=False"),
    ):
        sa.gpu.attention(x, x, x, kernel="unfused")


def test_numbers_of_another_byte_order_are_read_as_numbers():
    """Big-endian arrays give what their values give."""
    Q = np.random.default_rng(0).standard_normal((1, 2, 20, 32), np.float32)
    one, two = (sa.gpu.attention(x, x, x, measure=False).output for x in (Q, Q.astype(">f4")))
    assert (one == two).all()


@pytest.mark.skipif(GPU, reason="of a machine without a GPU")
@pytest.mark.parametrize("kernel", [k.name for k in KERNELS.values() if k.devices == ("cuda",)])
def test_without_a_gpu_its_kernels_say_so(kernel):
    """Each kernel that needs a GPU says so in one line, and the list of kernels says it, too."""
    with pytest.raises(sa.gpu.Unavailable, match="needs a CUDA GPU"):
        sa.gpu.attention(X, X, X, kernel=kernel)
    assert "CUDA GPU" in {k.name: k.why_not for k in sa.gpu.kernels()}[kernel]


@pytest.mark.skipif(not GPU, reason="of a GPU")
def test_what_does_not_fit_in_gpu_memory_says_so():
    """A kernel that stores its scores runs out of memory with one line, and the GPU is usable afterwards."""
    x = torch.zeros(1, 64, 65_536, 64, device="cuda", dtype=torch.float16)
    with pytest.raises(sa.gpu.Unavailable, match=r"out of memory.*shorter sequence"):
        sa.gpu.attention(x, x, x, kernel="unfused", measure=False)
    assert sa.gpu.attention(x[:, :1], x[:, :1], x[:, :1], kernel="flash", measure=False).output.shape[1] == 1


@pytest.mark.skipif(not GPU, reason="of a GPU")
def test_a_half_only_kernel_refuses_float64():
    """cuDNN's kernel would give NaN for float32 and float64: it is refused before it runs."""
    for dtype in (torch.float32, torch.float64):
        x = torch.zeros(1, 1, 8, 64, device="cuda", dtype=dtype)
        for kernel in ("flash", "cudnn"):
            with pytest.raises(sa.gpu.Unavailable, match="convert the inputs"):
                sa.gpu.attention(x, x, x, kernel=kernel)


def test_an_untested_torch_is_refused(monkeypatch):
    """Operators whose layouts nobody checked are not called."""
    monkeypatch.setattr(torch, "__version__", "1.13.1+cu117")
    with pytest.raises(sa.gpu.Unavailable, match=re.escape("torch 1.13.1+cu117 was not tested: pip install 'torch>=2.11,<2.14'")):
        backend.torch.__wrapped__()


def test_torch_loads_only_when_a_kernel_is_asked_for():
    """Importing simattn imports neither torch nor Triton."""
    script = "import sys, simattn; sys.exit('torch' in sys.modules or 'triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_measurement_names_what_was_launched():
    """The profiler sees one call: an operator by its name, and the memory that it asked for."""
    names, peak = timing.observe(lambda: torch.ones(1000, 1000, device=DEVICE) @ torch.ones(1000, 1000, device=DEVICE), DEVICE)
    assert names
    assert GPU or peak >= 3 * 4_000_000


def test_an_error_that_says_nothing_is_named():
    """Out of memory without a word is still one line, by its kind."""
    with pytest.raises(sa.gpu.Unavailable, match=r"^MemoryError: use a shorter sequence"):
        call._enough(lambda: (_ for _ in ()).throw(MemoryError()), DEVICE)


def test_a_measurement_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    """What `gpu fidelity` had measured before stays whole, and nothing lies beside it."""
    from simattn.cli import fidelity as command

    def fail(*_, **__):
        raise RuntimeError("no")

    (tmp_path / "f.json").write_text('{"measured_with": {}, "rows": []}')
    monkeypatch.setattr(sa.gpu, "has_cuda", lambda: True)
    monkeypatch.setattr(sa.gpu, "measure_grid", fail)
    with pytest.raises(RuntimeError, match="no"):
        command.command(str(tmp_path / "f.json"))
    assert [p.name for p in tmp_path.iterdir()] == ["f.json"]
    assert (tmp_path / "f.json").read_text() == '{"measured_with": {}, "rows": []}'


@pytest.mark.filterwarnings("ignore:.*(Sparse CSR|nested tensors):UserWarning")
def test_a_tensor_that_is_not_dense_is_named():
    """Sparse and nested tensors: the argument, what it is, and the remedy; never a kernel that takes their memory for rows."""
    x = torch.zeros(8, 64)
    others = [x.to_sparse(), x.to_sparse_csr(), x.to_mkldnn()]
    others += [torch.nested.nested_tensor([x, x], layout=layout) for layout in (torch.strided, torch.jagged)]
    for other in others:
        with pytest.raises(TypeError, match=r"^k is (nested|torch\.\w+): give a dense tensor of one shape$"):
            sa.gpu.attention(x, other, other, measure=False)


def test_what_is_measured_becomes_a_page(tmp_path, monkeypatch, capsys):
    """The commands of `make fidelity`, on a grid of one workload: measured into a file, gone on with, and printed as a page."""
    from simattn.cli import fidelity as command

    w, output = Problem(heads=2, n_q=128, n_k=128, d=64), tmp_path / "f.json"
    monkeypatch.setattr(sa.gpu, "has_cuda", lambda: True)
    for kernels in (["unfused"], ["unfused", "math"]):
        monkeypatch.setattr(sa.gpu, "grid", lambda kernels=kernels: [(w, kernel) for kernel in kernels])
        before = json.loads(output.read_text())["rows"][0]["ms"] if output.exists() else None
        command.command(str(output), seconds=60)
        rows = json.loads(output.read_text())["rows"]
        assert [row["kernel"] for row in rows] == kernels
        assert before in (None, rows[0]["ms"])
    capsys.readouterr()
    command.report_command(output, str(tmp_path / "f.png"))
    page = capsys.readouterr().out
    assert f"| {w} | {rows[0]['ms']:.4f}" in page
    assert (tmp_path / "f.png").stat().st_size > 1000


@pytest.mark.skipif(os.name == "nt", reason="Windows does not run what begins with #!")
@pytest.mark.parametrize(("script", "said"), [("echo 580.1.2; echo 580.1.2", "580.1.2"), ("exit 9", None), ("true", None)])
def test_the_driver_is_named(script, said, tmp_path, monkeypatch):
    """By nvidia-smi, a line a GPU; None where it fails or says nothing, or is not there."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\n{script}\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert backend.driver.__wrapped__() == said
    smi.unlink()
    assert backend.driver.__wrapped__() is None


def test_another_current_gpu_is_refused_at_every_call(monkeypatch):
    """What was checked when one GPU was current is checked again where there are several."""
    x = torch.zeros(1, 1, 8, 64, device=DEVICE)
    asked = []
    monkeypatch.setattr(call, "several", lambda: True)
    monkeypatch.setattr(call, "check_device", asked.append)
    for _ in range(3):
        sa.gpu.attention(x, x, x, kernel="math", measure=False)
    assert len(asked) == 2  # the first call checks everything


def test_a_resumed_grid_says_when_it_was_measured():
    """From the first day to the last."""
    w = Problem(n_q=32, n_k=32, d=32, dtype="float32")
    first = sa.gpu.measure_grid([(w, "math")], seconds=0)
    today = first["measured_with"]["date"]
    for before, said in (
        (today, today),
        ("2001-02-03", f"2001-02-03 to {today}"),
        ("2001-02-03 to 2002-01-01", f"2001-02-03 to {today}"),
    ):
        first["measured_with"]["date"] = before
        assert sa.gpu.measure_grid([(w, "math")], seconds=0, known=first)["measured_with"]["date"] == said


def test_a_host_that_is_busy_for_a_moment_changes_no_time(monkeypatch):
    """Of three rounds over the short calls the least median stands; a long call is timed once."""
    short, long = (Problem(n_q=n, n_k=n, d=32, dtype="float32") for n in (32, 64))
    medians = {"short": iter([0.09, 0.03, 0.08]), "long": iter([0.5, 0.4])}
    monkeypatch.setattr(measured, "prepare", lambda w, *_: lambda: "short" if w == short else "long")
    monkeypatch.setattr(measured.timing, "milliseconds", lambda call, _: next(medians[call()]))
    found = sa.gpu.measure_grid([(short, "math"), (long, "math")], seconds=0)
    assert [row["ms"] for row in found["rows"]] == [0.03, 0.5]
    assert [list(rest) for rest in medians.values()] == [[], [0.4]]


def test_a_grid_goes_on_where_it_stopped(monkeypatch):
    """What was timed with the same device and versions is kept, counters are asked for where there are none, new jobs are timed, in the
    order that is asked for; what another device measured is refused."""
    w = Problem(n_q=32, n_k=32, d=32, dtype="float32")
    jobs = [(w, "math"), (w, "flash"), (w, "unfused")]
    first = sa.gpu.measure_grid(jobs)
    assert [row["kernel"] for row in first["rows"]] == ["math", "flash", "unfused"]
    assert first["rows"][0]["ms"] > 0
    assert "float32" in first["rows"][1]["why_not"] or "CUDA GPU" in first["rows"][1]["why_not"]
    done = {
        "name": "k",
        "grid": "(1, 1, 1)",
        **dict.fromkeys(("sm_read", "sm_write", "l2_read", "l2_write", "dram_read", "dram_write", "ns"), 1),
    }
    first["rows"][0] |= {"counters": [done], "ms": 42.0}
    first["rows"][2] |= {"counters": None, "ms": 43.0}
    told, counted = [], []
    monkeypatch.setattr(
        measured.counters, "profile", lambda jobs, _: counted.extend(jobs) or [Profile(why_not="no ncu")] * len(jobs)
    )
    jobs.insert(1, (w, "cpu_flash" if not GPU else "efficient"))
    again = sa.gpu.measure_grid(jobs, told.append, known=json.loads(json.dumps(first)))
    assert [row["ms"] for row in again["rows"]][::3] == [42.0, 43.0]
    assert told == [f"{jobs[1][1]}, {w}", *(f"short calls, round {n} of 3" for n in (2, 3)), "hardware counters"]
    assert counted == [jobs[1], jobs[3]]
    with pytest.raises(ValueError, match="give another file"):
        sa.gpu.measure_grid(jobs, known=first | {"measured_with": {"device": "another"}})
