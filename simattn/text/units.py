"""Numbers for readers: decimal units, three digits."""


def bytes_text(n: float) -> str:
    """`35_651_584` -> '35.7 MB'; powers of 1000.

    >>> sa.bytes_text(35_651_584)
    '35.7 MB'
    """
    return _scaled(n, ("B", "KB", "MB", "GB", "TB", "PB", "EB"))


def count_text(n: float) -> str:
    """`4_294_967_296` -> '4.29 G'."""
    return _scaled(n, ("", "K", "M", "G", "T", "P", "E"))


def kib_text(n: float) -> str:
    """Capacities come in powers of 1024: `429_056` -> '419 KiB'."""
    return f"{n / 1024:.0f} KiB" if n >= 10 * 1024 else f"{n / 1024:.1f} KiB"


def ratio_text(x: float) -> str:
    """'3.2×', '0.011×'; two digits at least."""
    return f"{x:.3g}×" if x < 0.995 else f"{x:,.2f}×" if x < 10 else f"{x:,.0f}×" if x < 1e5 else f"{x:.1e}×"


def time_text(seconds: float) -> str:
    """`95` -> '2 minutes'; one unit, rounded, for estimates."""
    for unit, length, upto in (
        ("second", 1, 90),
        ("minute", 60, 90 * 60),
        ("hour", 3600, 48 * 3600),
        ("day", 86400, 2 * 365 * 86400),
    ):
        if seconds < upto:
            n = max(1, round(seconds / length))
            return f"{n} {unit}{'s' * (n > 1)}"
    years = seconds / (365 * 86400)
    return f"{years:,.0f} years" if years < 1e6 else f"{years:.0e} years"


def _scaled(n: float, units: tuple[str, ...]) -> str:
    unit = 0
    while n >= 999.5 and unit < len(units) - 1:
        n /= 1000
        unit += 1
    digits = f"{n:,.0f}" if unit == 0 or n >= 99.95 else f"{n:.1f}" if n >= 9.995 else f"{n:.2f}"
    return f"{digits} {units[unit]}".rstrip()
