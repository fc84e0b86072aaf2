"""Random numbers and elementary functions with the same bits on every machine.

Libraries round `exp` and `log` differently, from one processor to the next even within one library, and a simulated
cohort is pinned by its digest. Here everything is made of IEEE additions, multiplications, divisions and square roots,
which are rounded alike everywhere, and of exactly rounded sums.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

_LN2 = 0.6931471805599453
_LN2_HIGH = 0.693147180369123816490  # 33 bits, so that small multiples are exact (as in FreeBSD's msun)
_LN2_LOW = 1.90821492927058770002e-10
_LARGEST = 700.0
_SMALLEST = 2.0**-53


def uniforms(seed: int, stream: str, n: int) -> np.ndarray:
    """(n,) numbers strictly between 0 and 1: one Philox stream for each seed and name (Salmon et al. 2011).

    The raw 64-bit output is used, which numpy keeps stable, and not `Generator`, which it may change.
    """
    key = int.from_bytes(hashlib.sha256(f"{seed}|{stream}".encode()).digest()[:16], "big")
    raw = np.random.Philox(key=key).random_raw(n) >> np.uint64(12)
    return (raw.astype(np.float64) + 0.5) * 2.0**-52


def mean(values: np.ndarray) -> float:
    """Exactly rounded sum over n: the order of summation does not matter."""
    return math.fsum(values.tolist()) / len(values)


def exp(x: np.ndarray) -> np.ndarray:
    """e**x for |x| <= 700, beyond which x is cut; relative error below 1e-15."""
    x = np.clip(x, -_LARGEST, _LARGEST)
    halvings = np.rint(x / _LN2)
    rest = (x - halvings * _LN2_HIGH) - halvings * _LN2_LOW
    series = np.ones_like(rest)
    for k in range(14, 0, -1):
        series = 1.0 + series * rest / k
    return np.ldexp(series, halvings.astype(np.int32))


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of x > 0, by the series of artanh; relative error below 1e-15."""
    fraction, exponent = np.frexp(x)
    low = fraction < math.sqrt(0.5)
    fraction = np.where(low, 2.0 * fraction, fraction)
    exponent = (exponent - low).astype(np.float64)
    ratio = (fraction - 1.0) / (fraction + 1.0)
    square = ratio * ratio
    series = np.zeros_like(square)
    for k in range(27, 0, -2):
        series = 1.0 / k + series * square
    return exponent * _LN2_HIGH + (2.0 * ratio * series + exponent * _LN2_LOW)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """Hart (1968), algorithm 5666, as given by West (2005); absolute error below 1e-14."""
    size = np.minimum(np.abs(x), 37.0)
    density = exp(-0.5 * size * size)
    inner = density * _polynomial(_HART_P, size) / _polynomial(_HART_Q, size)
    tail = size + 0.65
    for k in (4.0, 3.0, 2.0, 1.0):
        tail = size + k / tail
    outer = density / tail / 2.506628274631
    lower = np.where(size < 7.07106781186547, inner, outer)
    return np.where(x > 0, 1.0 - lower, lower)


def normal_quantile(p: np.ndarray) -> np.ndarray:
    """Wichura (1988), algorithm AS 241, PPND16, for 0 < p < 1; relative error about 1e-16."""
    p = np.clip(p, _SMALLEST, 1.0 - _SMALLEST)
    centred = p - 0.5
    r = 0.180625 - centred * centred
    central = centred * _polynomial(_CENTRE_A, r) / _polynomial(_CENTRE_B, r)
    tail = np.sqrt(-log(np.minimum(p, 1.0 - p)))
    near = _polynomial(_NEAR_C, tail - 1.6) / _polynomial(_NEAR_D, tail - 1.6)
    far = _polynomial(_FAR_E, tail - 5.0) / _polynomial(_FAR_F, tail - 5.0)
    outer = np.where(tail <= 5.0, near, far)
    return np.where(np.abs(centred) <= 0.425, central, np.where(centred < 0, -outer, outer))


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """Horner's scheme, highest power first."""
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


_HART_P = (
    3.52624965998911e-02, 0.700383064443688, 6.37396220353165, 33.912866078383, 112.079291497871, 221.213596169931,
    220.206867912376,
)  # fmt: skip
_HART_Q = (
    8.83883476483184e-02, 1.75566716318264, 16.064177579207, 86.7807322029461, 296.564248779674, 637.333633378831,
    793.826512519948, 440.413735824752,
)  # fmt: skip
_CENTRE_A = (
    2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457, 13731.693765509461125,
    1971.5909503065514427, 133.14166789178437745, 3.387132872796366608,
)  # fmt: skip
_CENTRE_B = (
    5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867, 5394.1960214247511077,
    687.1870074920579083, 42.313330701600911252, 1.0,
)  # fmt: skip
_NEAR_C = (
    7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
    3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734,
)  # fmt: skip
_NEAR_D = (
    1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
    0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0,
)  # fmt: skip
_FAR_E = (
    2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
    0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772,
)  # fmt: skip
_FAR_F = (
    2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
    0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0,
)  # fmt: skip
