"""Whatever is given, at every door: one line that names the argument, its value and the remedy; or it is taken."""

import inspect
import re
import zipfile

import ml_dtypes
import numpy as np
import pytest
from conftest import ROOMY, plain_attention
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

import simattn as sa
from simattn.hierarchy import checks
from simattn.kernels.synonyms import IN_RUN, SYNONYMS
from simattn.reference.problem import Problem
from simattn.workbench.defaults import DEFAULTS, defaults
from simattn.workbench.options import Options
from simattn.workbench.tensors import TensorFileError, read_qkv

X = np.random.default_rng(0).standard_normal((8, 4), np.float32)
O = sa.attention(X, X, X, machine=ROOMY)


def stable(x):
    """A name for a case that is the same in every process."""
    return re.sub(r" at 0x\w+", "", repr(x))


def backward(Q=X, K=X, V=X, **options):
    return sa.attention_backward(Q, K, V, O.output, O.lse, X, machine=ROOMY, **options)


DOORS = {
    "attention": lambda Q=X, K=X, V=X, **options: sa.attention(Q, K, V, machine=ROOMY, **options),
    "attention_backward": backward,
    "compare": lambda Q=X, K=X, V=X, **options: sa.compare(ROOMY, ["flash2"], Q, K, V, **options),
    "run": lambda Q=X, K=X, V=X, **options: ROOMY.run(sa.flash2, Q, K, V, **options),
}
"""What takes arrays and options."""

OWN = {"attention": "qkv", "attention_backward": "qkv", "compare": "", "run": ["seed"]}
"""What a door takes by the name that another calls a synonym."""


def one_line(call):
    """The message of the TypeError or ValueError that a call raises, which is one line."""
    with pytest.raises((TypeError, ValueError)) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


WRONG = {
    "causal": ("no", 1, 0, None, 0.0, [True]),
    "dropout": (True, "x", 1, -0.1, np.nan, np.inf, None, 1j),
    "scale": (True, "x", np.nan, np.inf, [1.0], 10**400),
    "softcap": (True, 0, 0.0, -1, "30", np.nan),
    "window": (3, (1,), (1, 2, 3), (1.5, 0), (-1, -1), (True, 0), "1,2", {1, 2}),
    "offset": (True, 1.0, "0", [0]),
    "Br": (4.0, True, 0, -4, "4", None, [4]),
    "Bc": (4.5, False, 0),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values], ids=stable)
def test_one_validator_for_every_door(door, name, value):
    """A number, flag or window of the wrong kind or range gets the same message at every door: its name, its value and what to give."""
    options = {name: value} | ({"Br": 4, "Bc": 4, name: value} if name in ("Br", "Bc") else {})
    messages = {one_line(lambda: DOORS[d](**options)) for d in (door, "run")}
    assert len(messages) == 1
    (message,) = messages
    assert message.startswith(f"{name}={checks.shown(value)}: ")
    assert "give" in message or "nearest valid value" in message


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["causal", "window", "offset"])
def test_numpys_scalars_are_pythons(door, name):
    """np.bool_, np.int64 and np.float32 are taken for what they are, with the same result."""
    plain = {"causal": True, "window": (2, 1), "offset": 1}[name]
    numpys = {"causal": np.bool_(True), "window": (np.int64(2), np.int32(1)), "offset": np.int64(1)}[name]
    more = {"scale": np.float64(0.3), "softcap": np.float64(2.0)}
    ours, theirs = DOORS[door](**{name: plain}, scale=0.3, softcap=2.0), DOORS[door](**{name: numpys}, **more)
    if door == "compare":
        assert ours.to_dicts() == theirs.to_dicts()
    else:
        assert all(np.array_equal(ours.outputs[x], theirs.outputs[x]) for x in ours.outputs)


ARRAYS = {
    "a list": (X.tolist(), "Q is a list: give a NumPy array"),
    "a number": (5, "Q is an int: give a NumPy array"),
    "nothing": (None, "Q is None: give a NumPy array"),
    "a scalar": (np.float32(1), "Q is a float32: give a NumPy array"),
    "masked": (np.ma.array(X), "Q is a masked array, and its mask would be lost: give Q.filled"),
    "objects": (X.astype(object), "Q has type object: give float64"),
    "text": (X.astype(str), "Q has type <U32: give float64"),
    "complex": (X.astype(complex), "Q has type complex128: give float64"),
    "integers": (X.astype(int), "Q has type int64: give float64"),
    "booleans": (X > 0, "Q has type bool|bool"),
    "no axes": (np.array(1.0, np.float32), r"Q.*\(\).*give"),
    "three axes": (X[None], r"Q.*\(1, 8, 4\).*give"),
    "five axes": (X[None, None, None], r"Q.*\(1, 1, 1, 8, 4\).*give"),
    "no rows": (X[:0], r"Q has shape \(0, 4\): no length may be 0"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", ARRAYS)
def test_what_is_no_array_of_numbers_is_named(door, what):
    """Lists, numbers, masked arrays, objects, texts and arrays of other shapes are refused by name at every door."""
    Q, expected = ARRAYS[what]
    assert re.search(expected, one_line(lambda: DOORS[door](Q)))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "same", [X.astype(">f4"), X.view(np.matrix), np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X[::-1][::-1]],
    ids=["big-endian", "matrix", "Fortran", "strided", "reversed twice"],
)  # fmt: skip
def test_the_same_values_are_taken_alike(door, same):
    """Byte order, layout and the class matrix change no value, so they are taken, with the same result to the bit."""
    ours, theirs = DOORS[door](), DOORS[door](same, same, same)
    if door == "compare":
        assert ours.to_dicts() == theirs.to_dicts()
    else:
        assert all(ours.outputs[name].tobytes() == theirs.outputs[name].tobytes() for name in ours.outputs)
        assert type(theirs.output) is np.ndarray


def test_read_only_arrays_and_memory_maps_are_taken(tmp_path):
    """What cannot be written to is read all the same."""
    np.save(tmp_path / "x.npy", X)
    mapped, fixed = np.load(tmp_path / "x.npy", mmap_mode="r"), X.copy()
    fixed.flags.writeable = False
    for x in (mapped, fixed):
        assert np.array_equal(sa.attention(x, x, x, machine=ROOMY).output, O.output)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("theirs", [*SYNONYMS, "sinks"])
def test_what_others_call_it_points_to_ours(door, theirs):
    """Each name of torch, flash-attn, JAX and the rest is refused before anything runs, with our name or what to do instead."""
    if theirs in OWN[door]:
        return
    message = one_line(lambda: DOORS[door](**{theirs: np.ones(4, np.float32)}))
    assert f"unknown option '{theirs}'" in message
    table = IN_RUN if door == "run" else SYNONYMS
    advice = table.get(theirs, "")
    if " " in advice:
        assert message.endswith(advice)
    elif advice in ("scale", "softcap", "bias", "alibi", "causal", "offset", "kv_lens", "dropout", "rng", "seed", "Br", "Bc"):
        assert message.endswith(f"did you mean '{advice}'")


@pytest.mark.parametrize(("theirs", "ours"), [
    ("softmax_scale", "scale"), ("sm_scale", "scale"), ("is_causal", "causal"), ("dropout_p", "dropout"), ("alibi_slopes", "alibi"),
    ("logits_soft_cap", "softcap"), ("attn_bias", "bias"), ("attn_mask", "mask"), ("key_value_seq_lengths", "kv_lens"), ("seed", "rng"),
    ("local_window_size", "window"), ("window_size", "window"), ("enable_gqa", "fewer"), ("block_table", "sa.paged"),
    ("key_padding_mask", "kv_lens"), ("cu_seqlens_q", "kv_lens"), ("return_lse", ".lse"), ("group", "heads"), ("query", "position"),
])  # fmt: skip
def test_the_names_that_everybody_tries(theirs, ours):
    """The commonest names of other libraries lead to the option that does the same."""
    for door in ("attention", "compare"):
        assert ours in one_line(lambda door=door: DOORS[door](**{theirs: True})).split(":", 1)[1]


def test_every_synonym_leads_somewhere():
    """A synonym is no option of ours, but for the seed of machine.run; and a single word that it leads to is one of ours, or will be."""
    ours = {"scale", "softcap", "bias", "alibi", "causal", "offset", "kv_lens", "dropout", "rng", "Br", "Bc", "splits"}
    assert not SYNONYMS.keys() & ours
    assert {advice for advice in SYNONYMS.values() if " " not in advice} <= ours | {"sinks", "algorithm", "machine"}


@pytest.mark.parametrize("written", [
    {"dropout": 0}, {"dropout": 0.0}, {"dropout": np.float64(0)}, {"dropout": np.float32(0), "rng": 3}, {"causal": np.bool_(False)},
    {"window": (None, None)}, {"window": [None, None]}, {"scale": 0.5}, {"kv_lens": 8}, {"kv_lens": [8]}, {"kv_lens": np.array([8])},
    {"softcap": None, "bias": None, "mask": None, "alibi": None, "offset": None},
], ids=stable)  # fmt: skip
def test_a_default_however_it_is_written_is_not_asked_for(written):
    """Performer and dynamic convolution, which take no options of the scores, take every spelling of their defaults, alone and compared."""
    asked = Options.of(X[None, None], X[None, None], **written)
    assert asked.given() == {}
    W = np.ones((5, 4), np.float32)
    for algorithm in ("performer", "dynamic_conv"):
        plain = sa.attention(X, X, X, algorithm=algorithm, machine=ROOMY, W=W)
        assert sa.attention(X, X, X, algorithm=algorithm, machine=ROOMY, W=W, **written).total == plain.total
        assert sa.compare(ROOMY, [algorithm], X, X, X, W=W, **written)[algorithm].failure is None
    same = {name: value for name, value in written.items() if name not in ("rng", "kv_lens", "scale")}
    E = np.ones((4, 8), np.float32)
    assert ROOMY.run(sa.linformer, X, X, X, E=E, F=E, **same).total == ROOMY.run(sa.linformer, X, X, X, E=E, F=E).total


def test_one_algorithms_refusal_is_its_rows():
    """Grouped heads with dropout, a causal Linformer and a decoder that is not causal: each fails in its row; the others are compared."""
    Q, K = (np.random.default_rng(0).standard_normal((1, h, 8, 4), np.float32) for h in (4, 2))
    found = sa.compare(ROOMY, ["naive", "split_kv", "incremental", "performer"], Q, K, K, dropout=0.1, rng=0)
    assert [r.failure is None for r in found.results] == [True, False, False, False]
    assert "packs groups" in found["split_kv"].failure
    assert "causal=True" in found["incremental"].failure
    found = sa.compare(ROOMY, ["linformer", "flash2"], X, X, X, causal=True)
    assert "causal=True: linformer does not support it" in found["linformer"].failure
    assert found["flash2"].run is not None
    assert sa.compare(ROOMY, ["linformer"], X, X, X, causal=True)["linformer"].failure == found["linformer"].failure


def test_what_is_wrong_with_the_call_raises_before_anything_runs():
    """A misspelt option, a bad block size, dO without backward and a mask of blocks of other numbers end the call, whatever the rows."""
    ran = []
    for options, said in (
        ({"windw": (1, 0)}, "did you mean 'window'"), ({"splits": 2}, "no option of flash2, naive: splits; it is one of split_kv"),
        ({"Br": 0, "Bc": 4}, "Br=0"), ({"Br": 4.0, "Bc": 4}, "Br=4.0"), ({"dO": X}, "give backward=True|without backward"), ({"backward": "yes"}, "backward='yes': give True or False"),
        ({"block_mask": [[3]], "Br": 8, "Bc": 8}, "no option|block_mask"), ({"rng": "x"}, "rng='x'"), ({"rng": -1}, "rng=-1"), ({"rng": 1.5}, "rng=1.5"),
        ({"mask": X}, "mask has type float32: give a boolean mask"), ({"alibi": True}, "alibi=True: give the slope of each head"),
        ({"alibi": "steep"}, "alibi='steep'"), ({"kv_lens": [[1], [2, 3]]}, "kv_lens"), ({"kv_lens": True}, "kv_lens=True"),
        ({"bias": X.tolist()}, "bias is a list"), ({"bias": np.ma.array(X)}, "bias is a masked array"),
    ):  # fmt: skip
        assert re.search(
            said, one_line(lambda o=options: sa.compare(ROOMY, ["flash2", "naive"], X, X, X, progress=ran.append, **o))
        )
    for kinds in ([[3]], [[2]], [[1.0]], [["x"]], [[1, 1]], 1):
        message = one_line(
            lambda k=kinds: sa.compare(ROOMY, ["block_sparse"], X, X, X, progress=ran.append, block_mask=k, Br=8, Bc=8)
        )
        assert message.startswith("block_mask ")
    for name in ("splits", "steps", "tokens", "capacity", "block", "one_sided", "global_tokens", "random_blocks", "seed"):
        taker = {"splits": "split_kv", "block": "block_diagonal", "one_sided": "longformer", "global_tokens": "longformer"}
        names = ["naive", taker.get(name, "bigbird" if name in ("random_blocks", "seed") else "incremental")]
        for value in (-1, 2.5, "2", True):
            message = one_line(
                lambda n=name, v=value, a=names: sa.compare(ROOMY, a, X, X, X, progress=ran.append, causal=True, **{n: v})
            )
            assert message.startswith(f"{name}={value!r}: ")
    assert ran == []


NAMES = {
    "naive": "names='naive': give a list of names, as ['naive'], not a str",
    "naive,flash2": "names='naive,flash2': give a list of names, as ['naive', 'flash2'], not a str",
}


@pytest.mark.parametrize(("names", "said"), [
    *NAMES.items(), (None, "give a list of names, as ['naive', 'flash2'], not None"), (5, "give a list of names"), ([], "no algorithm"),
    (["Flash2"], "did you mean 'flash2'"), (["NAIVE"], "did you mean 'naive'"), ([" flash2\n"], "did you mean 'flash2'"),
    (["split-kv"], "did you mean 'split_kv'"), ([""], "unknown algorithm ''; known: "), (sa.flash2, "give a list with it: [flash2], not a function"), ([sa.paged], "machine.run(sa.paged"),
    ([["naive"]], "give a name"), ([None], "give a name"), (["paged"], "machine.run(sa.paged"), (["mla"], "machine.run(sa.mla"),
    (["flash3_fp8"], "machine.run(sa.flash3_fp8"), (["naive_backward"], "backward=True"),
], ids=stable)  # fmt: skip
def test_names_of_algorithms(names, said):
    """A text for a list, another case, blanks, functions, and algorithms of other inputs: each says what to give."""
    assert said in one_line(lambda: sa.compare(ROOMY, names, X, X, X))
    if isinstance(names, list) and names:
        assert said.split(",", maxsplit=1)[0] in one_line(lambda: sa.attention(X, X, X, algorithm=names[0]))


@pytest.mark.parametrize("machine", ["", "h100", 5, ["a100-40gb"], True])
def test_names_of_machines(machine):
    """No name, an unknown one, and what is no name are refused alike by every call that takes one."""
    messages = {
        one_line(lambda: sa.attention(X, X, X, machine=machine)), one_line(lambda: sa.compare(machine, ["naive"], X, X, X)),
        one_line(lambda: sa.machine(machine)),
    }  # fmt: skip
    assert len(messages) == 1


MACHINES = {
    "sram": (True, 0, -1, 1.5, "48", None), "hbm": (True, 0, 1.5), "sms": (True, 0, "4"), "l2": (0, -1, False), "registers": (0,),
    "shared_memory": (-5,), "hbm_bandwidth": (-1, 0, True, "fast", np.inf), "clock": (-1, np.nan), "name": (5, None),
    "flops": ([1], {"float16": -1}, {"float16": True}, {"float16": "many"}), "rounds_every_operation": (1, "no"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in MACHINES.items() for value in values], ids=stable)
def test_a_machine_has_positive_figures(name, value):
    """Every figure of a machine is checked when it is made."""
    assert one_line(lambda: sa.Machine(**{"name": "toy", "sram": 1 << 20, name: value})).startswith(name)


def test_a_machine_takes_numpys_numbers():
    """A NumPy capacity becomes a Python int, so that sums of bytes do not overflow."""
    made = sa.Machine(name="toy", sram=np.int32(1 << 20), hbm=np.int32(1 << 30), hbm_bandwidth=np.float32(1e12), sms=np.int64(4))
    assert {type(x) for x in (made.sram, made.hbm, made.sms)} == {int}
    assert type(made.hbm_bandwidth) is float


SHAPE = {"n_q": 8, "n_k": 8, "d": 4}
PROBLEMS = {
    "dtype": ("foo", "", 5, "int8"), "n_q": (0, True, 8.0, "8"), "causal": ("no", 1), "alibi": (1,), "dropout": (0.1, "x"), "softcap": (30.0,),
    "bias": ("all", True), "mask": (True, "rows"), "window": (3, (-1, 0)), "offset": (1.5, "x"), "kv_len": (9, -1, 1.5),
    "block_mask": (((3,),), 1, "x", ((1, 2), (1,))), "heads": (0, None), "kv_heads": (0, 1.0),
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in PROBLEMS.items() for value in values], ids=stable)
def test_a_problem_is_one(name, value):
    """Every length, flag and type of a problem is checked when it is made."""
    message = one_line(lambda: sa.Problem(**SHAPE | {name: value}))
    assert name in message or message.startswith(f"unknown storage type {value!r}") or "inhomogeneous" in message


FORMS = {
    "Br": (0, 4.0, True), "Bc": (0, "4"), "sram": (0, -1, True, None), "splits": (0, 9, 1.0), "tokens": (0, 1.5), "steps": (-1, 9, 0.5),
    "problem": (None, "x"), "algorithm": ("flash9", None, sa.flash2), "Brr": (4,), "block": (8,),
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FORMS.items() for value in values], ids=stable)
def test_a_closed_form_is_asked_for_what_can_run(name, value):
    """Blocks, splits, steps and capacities that no run could have, and arguments that the form does not take, are named."""
    arguments = {"algorithm": "flash2", "problem": sa.Problem(**SHAPE), "Br": 4, "Bc": 4, "sram": 1 << 20} | {name: value}
    assert name in one_line(lambda: sa.closed_form(**arguments))


def test_a_closed_form_checks_what_approximations_take():
    """A missing block, one that does not divide N, and a mask of blocks of another shape are named."""
    problem, more = sa.Problem(**SHAPE), {"Br": 4, "Bc": 4, "sram": 1 << 20}
    assert "block_diagonal needs block" in one_line(lambda: sa.closed_form("block_diagonal", problem, **more))
    for block in (0, 3, 2.0):
        assert f"block={block}" in one_line(lambda b=block: sa.closed_form("block_diagonal", problem, block=b, **more))
    masked = sa.Problem(**SHAPE, block_mask=np.ones((1, 1), int))
    assert "block_mask has shape (1, 1)" in one_line(lambda: sa.closed_form("block_sparse", masked, **more))
    numpys = sa.Problem(**{name: np.int32(n) for name, n in SHAPE.items()}, batch=np.int32(1 << 20))
    assert type(sa.closed_form("flash2", numpys, **more).total.hbm_read) is int


@given(
    n=st.integers(1, 200),
    causal=st.booleans(),
    name=st.sampled_from(sorted(DEFAULTS)),
    dtype=st.sampled_from(["float32", "float16"]),
)
def test_every_listed_algorithm_has_defaults(n, causal, name, dtype):
    """Without any option, every algorithm that a comparison lists runs at every length, or says that it is not causal; and what it takes
    is documented in a sentence.
    """
    x = np.random.default_rng(n).standard_normal((n, 8), np.float32).astype(dtype)
    (found,) = sa.compare(ROOMY, [name], x, x, x, causal=causal).results
    assert found.failure is None or (causal and name == "linformer")


def test_defaults_are_for_what_is_required():
    """Every algorithm of a comparison has a default for each argument that its signature requires; what is given is kept."""
    from simattn.kernels import GROUPS

    w = Problem(heads=2, n_q=96, n_k=96, d=8, dtype="float32")
    for f in (sa.algorithms[name] for group in ("exact", "decoding", "approximate") for name in GROUPS[group]):
        needs = {p.name for p in inspect.signature(f).parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
        made = defaults(f.__name__, w, {})
        assert needs - {"Br", "Bc"} <= made.keys()
        assert not made or f.__name__ in DEFAULTS
    assert "block" not in defaults("bigbird", w, {"block": 32})
    again = defaults("performer", w, {})
    assert np.array_equal(defaults("performer", w, {})["W"], again["W"])


def test_a_default_mask_of_blocks_hides_nothing():
    """block_sparse by default is exact, under causal and a boolean mask, too."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((100, 8), np.float32) for _ in range(3))
    mask = rng.random((100, 100)) < 0.5
    for options in ({}, {"causal": True}, {"mask": mask}):
        found = sa.compare(ROOMY, ["naive", "block_sparse"], Q, K, V, **options)["block_sparse"]
        assert found.error.max_abs < 1e-5, options


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "float32", "float64"])
def test_safetensors_of_every_storage_type_are_read(dtype, tmp_path):
    """Q, K, V come back to the bit, other tensors beside them, as safetensors' own writer stores them."""
    rng = np.random.default_rng(0)
    tensors = {name: rng.standard_normal((2, 3, 5, 4)).astype(np.dtype(dtype)) for name in "VKQ"} | {"other": np.arange(3)}
    save_file(tensors, tmp_path / "x.safetensors")
    for name, x in zip("QKV", read_qkv(tmp_path / "x.safetensors"), strict=True):
        assert (x.dtype, x.tobytes()) == (np.dtype(dtype), tensors[name].tobytes())


def bad_files(folder):
    """name -> what its message must say."""
    np.save(folder / "x.npy", X)
    (folder / "x.npy").rename(folder / "npy.npz")
    np.save(folder / "y.npy", X)
    for name, member in (("text_members.npz", "Q"), ("text_in_npy.npz", "Q.npy")):
        with zipfile.ZipFile(folder / name, "w") as archive:
            for letter in "QKV":
                archive.writestr(member.replace("Q", letter), "hello")
    np.savez(folder / "whole.npz", Q=X, K=X, V=X)
    whole = (folder / "whole.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for suffix in ("npz", "safetensors"):
        (folder / f"empty.{suffix}").write_bytes(b"")
        (folder / f"text.{suffix}").write_text("Q, K and V are to follow\n")
        (folder / f"folder.{suffix}").mkdir()
    (folder / "pickle.npz").write_bytes(b"\x80\x04}q.")
    (folder / "table.csv").write_text("1,2\n")
    np.savez(folder / "integers.npz", Q=X.astype(int), K=X, V=X)
    np.savez(folder / "nan.npz", Q=X * np.nan, K=X, V=X)
    np.savez(folder / "widths.npz", Q=X[:, :2], K=X, V=X)
    np.savez(folder / "objects.npz", Q=np.array([{}], object), K=X, V=X)
    np.savez(folder / "half.npz", **dict.fromkeys("QKV", X.astype(ml_dtypes.bfloat16)))
    save_file(dict.fromkeys("QKV", X.astype(int)), folder / "integers.safetensors")
    save_file({f"layer{i}": X for i in range(20)}, folder / "model.safetensors")
    save_file(dict.fromkeys("QKV", X), folder / "cut.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "cut.safetensors").read_bytes()[:-9])
    return {
        "npy.npz": ".npy file, which holds one array without a name.*np.savez", "y.npy": ".npy file, .*give a .npz or .safetensors",
        "text_members.npz": "member Q is not an array.*np.savez", "text_in_npy.npz": "np.savez", "cut.npz": "zip file that was cut short.*np.savez",
        "empty.npz": "an empty file.*np.savez", "text.npz": "a text file.*np.savez", "folder.npz": "a folder; give a .npz file",
        "empty.safetensors": "an empty file.*save_file", "text.safetensors": "a text file.*save_file", "folder.safetensors": "a folder; give",
        "pickle.npz": "a pickle, which is not read.*np.savez", "table.csv": "a text file; give a .npz or .safetensors",
        "integers.npz": "Q has type int64: give float64", "nan.npz": "Q holds 32 values that are not finite", "widths.npz": "Q and K share d",
        "objects.npz": "plain arrays.*np.savez", "half.npz": "Q has lost its type.*give a .safetensors", "absent.npz": "there is no such file; give",
        "integers.safetensors": "Q has type I64; give F64", "model.safetensors": "and 12 more, but not Q, K, V; name the arrays",
        "cut.safetensors": "damaged or cut short.*save_file", "absent.pt": "no such file; give a .npz or .safetensors",
    }  # fmt: skip


def test_a_file_that_holds_no_q_k_v_says_what_it_is_and_what_to_do(tmp_path):
    """Each file that cannot be used gets one line: its name, what it is, and how to make one that can."""
    for name, said in bad_files(tmp_path).items():
        with pytest.raises(TensorFileError, match=f"^[^\n]*{name}: [^\n]*{said}[^\n]*$"):
            read_qkv(tmp_path / name)
    (tmp_path / "whole.npz").rename(tmp_path / "WHOLE.NPZ")
    assert np.array_equal(read_qkv(tmp_path / "WHOLE.NPZ")[0], X)


@given(n=st.integers(1, 40), rows=st.integers(1, 12), real=st.integers(0, 40))
def test_zero_padding_quantises_to_zeros(n, rows, real):
    """A block of zeros has the factor 1 and stays zeros; the blocks before it have the factors that they have without padding."""
    x = np.random.default_rng(n).standard_normal((n, 4)) + 3
    x[real:] = 0
    x8, factors = sa.quantize(x, rows)
    for b, block in enumerate(sa.blocks(n, rows)):
        assert factors[b, 0] == (np.float32(np.abs(x[block]).max() / 448) if x[block].any() else 1)
    assert not x8[real:].astype(np.float32).any()


@pytest.mark.parametrize(("arguments", "said"), [
    ((X.tolist(), 2), "x is a list"), ((X, 2.0), "rows=2.0"), ((X, True), "rows=True"), ((X, 0), "rows=0"), ((X[0], 2), r"shape \(4,\)"),
    ((X[:0], 2), r"shape \(0, 4\)"), ((X * np.nan, 2), "not finite"), ((X.astype(int), 2), "type int64"), ((np.ma.array(X), 2), "masked"),
])  # fmt: skip
def test_quantisation_checks_its_arguments(arguments, said):
    """What cannot be quantised is named, with its shape, type or value."""
    assert re.search(said, one_line(lambda: sa.quantize(*arguments)))


def test_padded_keys_in_fp8_change_nothing():
    """flash3_fp8 takes zero-padded K and V with kv_lens: the padding changes nothing."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((32, 16), np.float32) for _ in range(3))
    K[16:], V[16:] = 0, 0
    (q, sQ), (k, sK), (v, sV) = (sa.quantize(x, 16) for x in (Q, K, V))
    run = ROOMY.run(sa.flash3_fp8, q, k, v, sQ=sQ, sK=sK, sV=sV, Br=16, Bc=16, kv_lens=16)
    expected, _ = plain_attention(Q, K[:16], V[:16])
    assert np.abs(run.output.astype(float) - expected).max() < 0.2


TENSORS = {
    "causal": ("no", 1, None), "scale": ("x", True, np.nan), "measure": ("yes", 1), "kernel": (None, ["flash"]), "softmax_scale": (1.0,),
    "is_causal": (True,), "attn_mask": (None,), "window": ((1, 0),),
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in TENSORS.items() for value in values], ids=stable)
def test_real_kernels_check_alike(name, value):
    """sa.gpu.attention and its backward pass refuse options as sa.attention does, with the name and the remedy."""
    pytest.importorskip("torch")
    for call in (sa.gpu.attention, lambda *a, **o: sa.gpu.attention_backward(*a, X, **o)):
        message = one_line(lambda c=call: c(X, X, X, **{"measure": False} | {name: value}))
        assert name in message
        assert "give" in message or "did you mean" in message or "known" in message


def test_real_kernels_refuse_what_is_not_finite():
    """NaN and infinities are refused as sa.attention refuses them, in q, k, v and do, in NumPy arrays and tensors; big-endian is taken."""
    torch = pytest.importorskip("torch")
    for bad in (np.nan, np.inf, -np.inf):
        wrong = X.copy()
        wrong[2, 1] = bad
        for make in (np.asarray, torch.tensor):
            x, y = make(X), make(wrong)
            for at, name in enumerate("qkv"):
                arguments = [y if i == at else x for i in range(3)]
                for call in (sa.gpu.attention, lambda *a, **o: sa.gpu.attention_backward(*a, x, **o)):
                    message = one_line(lambda c=call, a=arguments: c(*a, measure=False))
                    assert message.startswith(f"{name} holds 1 values that are not finite")
            assert one_line(lambda x=x, y=y: sa.gpu.attention_backward(x, x, x, y, measure=False)).startswith("do holds 1 values")
    big = X.astype(">f4")
    assert np.allclose(sa.gpu.attention(big, big, big, kernel="math", measure=False).output, O.output, atol=1e-5)
