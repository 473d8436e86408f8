"""The words of the page of claims: English as the claims have them, or Chinese from zh.toml."""

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from ...kernels import algorithms
from .claim import Claim

NUMBER = re.compile(r"(?<![A-Za-z\d.,])(?<![A-Za-z\d]-)-?\d(?:[\d,.]*\d)?(?:e[-+]?\d+)?")  # not those of flash2 or FlashAttention-2
CITED = (
    "A100",
    "CUDA C++ Programming Guide",
    "FlashAttention",
    "Flash-Decoding",
    "FlashAttention / Flash-Decoding",
    "PyTorch",
    "Haziza",
    "Massa",
    "flash_fwd_launch_template.h",
)
UNITS = ("", "B", "FLOP", "FLOP/B", "GPU", "MB", "MiB", "SMs", "K", "V", "l", "m", "ms", "µs", "%", "×")
LITERAL = re.compile(
    r"\S+ = .*|\{}\)?|float\d+|arXiv \{}v\d\)?|flash-attn \{}|Sizov \{}\)|N · d · \{} B|\{} − .*|batch \{}|FlashAttention \(Dao et al\. \{}"
    r"|Flash-Decoding \(Dao|Pay Less Attention .* \{}|FlashAttention-2 / Flash-Decoding in Flash-Decoding \(Dao"
)


class English:
    """What the claims say, as it is."""

    template = "page.md"
    stop, computed, rule, sources, columns = (
        ".",
        "What was computed.",
        "How the verdict follows.",
        "From:",
        "| | value | unit | | from |",
    )

    def field(self, claim: Claim, name: str) -> str:
        """A claim's text, computed or rule."""
        return str(getattr(claim, name))

    def verdict(self, text: str) -> str:
        return text

    def kind(self, text: str) -> str:
        return text

    def sentence(self, text: str) -> str:
        return text

    def phrase(self, text: str) -> str:
        """A quantity's name, unit or source."""
        return text


class Chinese(English):
    """The same in Chinese. A text that zh.toml does not have raises a LookupError."""

    template = "page.zh.md"
    stop, computed, rule, sources, columns = "。", "计算了什么。", "如何得出结论。", "来源：", "| | 数值 | 单位 | | 来源 |"

    def field(self, claim: Claim, name: str) -> str:
        return str(_known(_texts()["claims"].get(str(claim.number), {}).get(name), f"claims.{claim.number}", name))

    def verdict(self, text: str) -> str:
        return _translated("verdicts", text)

    def kind(self, text: str) -> str:
        return _translated("kinds", text)

    def sentence(self, text: str) -> str:
        """A sentence, or a lead that zh.toml has and a sentence after it."""
        lead, colon, rest = text.partition(": ")
        if colon and lead in _texts()["leads"]:
            return f"{_translated('leads', lead)}：{_translated('sentences', rest)}"
        return _translated("sentences", text)

    def phrase(self, text: str) -> str:
        return "，".join(map(_part, text.split(", ")))


LANGUAGES: dict[str, English] = {"en": English(), "zh": Chinese()}


@cache
def _texts() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("zh.toml").read_text(encoding="utf-8"))


def _translated(section: str, text: str) -> str:
    template = NUMBER.sub("{}", text)
    found = _known(_texts()[section].get(template, _texts()[section].get(text)), section, template)
    return str(found).format(*NUMBER.findall(text))


def _known(found: object, section: str, text: str) -> object:
    if found is None:
        raise LookupError(f"zh.toml has no Chinese for {text!r}; add it to [{section}]")
    return found


def _part(text: str) -> str:
    """A part of a name or source: growth, errors, widths and runs follow one pattern; names, units and citations stay."""
    for pattern, chinese in (
        ("growth of (.+)", "{}的增长指数"),
        ("error of ([a-z_0-9]+)", "{} 的误差"),
        ("reach of (.+)", "{} 的作用距离"),
        ("change by shuffling", "打乱引起的变化"),
        ("RMSE of (.+)", "{} 的 RMSE"),
        (r"(\w+(?: \+ \w+)?) on ([a-z][a-z0-9-]+)", "{1} 上的 {0}"),
        ("a100-40gb", "a100-40gb"),
    ):
        if found := re.fullmatch(pattern, text):
            parts = [_part(x) if "growth" in pattern else x for x in found.groups()]
            return chinese.format(*(x + " " if "growth" in pattern and x[-1].isascii() else x for x in parts))
    if text in _texts()["phrases"] or NUMBER.sub("{}", text) in _texts()["phrases"]:
        return _translated("phrases", text)
    if text in algorithms or text in (*UNITS, *CITED) or LITERAL.fullmatch(NUMBER.sub("{}", text)):
        return text
    return _translated("phrases", text)
