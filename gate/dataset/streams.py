"""Random numbers that are a pure function of (seed, table, column, use, row).

NumPy promises stability of its bit generators, not of its distributions, and its exp, log and power
choose code by the processor's vector units and differ in the last bit. So everything here is made of
raw Philox words and the four operations, which IEEE 754 fixes: the same bytes on every machine.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

_LN2 = 0.6931471805599453
_WORDS_PER_STEP = 4  # Philox 4x64 gives four words for each step of its counter


class Stream:
    """One random word for each row, addressed by row: chunks of any size give the same words.

    names: what the stream is for ("1", "songs", "title", "length"); other names, other words.
    """

    def __init__(self, *names: object) -> None:
        text = "\0".join(str(name) for name in names)
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        self.key = digest
        self._names = names

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def sub(self, *names: object) -> Stream:
        """A stream of its own for another use in the same column."""
        return Stream(*self._names, *names)

    def raw(self, start: int, stop: int) -> Words:
        """The words of rows start to stop, uniform over 64 bits."""
        step, skip = divmod(start, _WORDS_PER_STEP)
        bits = np.random.Philox(key=np.frombuffer(self.key, dtype="<u8").astype(np.uint64))
        bits.advance(step)
        words: Words = bits.random_raw(skip + stop - start)
        return words[skip:]

    def uniform(self, start: int, stop: int) -> Floats:
        """Numbers in [0, 1) with 53 random bits."""
        return _unit(self.raw(start, stop))

    def normal(self, start: int, stop: int) -> Floats:
        """Mean 0, standard deviation 1, within +-3.5: the sum of four uniforms of 16 bits each."""
        words = self.raw(start, stop)
        total = np.zeros(stop - start, dtype=np.float64)
        for shift in (0, 16, 32, 48):
            total += ((words >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.float64)
        return (total / 65536.0 - 2.0) * 1.7320508075688772  # four uniforms vary by 1/3


class Coupled(Stream):
    """Words of another column's stream for a share of the rows, else of its own.

    The ranks of two columns drawn so correlate by exactly that share; opposed: negatively.
    """

    def __init__(self, own: Stream, other: Stream, share: float, *, opposed: bool = False) -> None:
        super().__init__(*own._names)
        self._other = other
        self._share = share
        self._opposed = opposed

    def uniform(self, start: int, stop: int) -> Floats:
        theirs = self._other.uniform(start, stop)
        theirs = 1.0 - 2.0**-53 - theirs if self._opposed else theirs
        return self._mixed(super().uniform(start, stop), theirs, start, stop)

    def normal(self, start: int, stop: int) -> Floats:
        theirs = self._other.normal(start, stop)
        theirs = -theirs if self._opposed else theirs
        return self._mixed(super().normal(start, stop), theirs, start, stop)

    def _mixed(self, own: Floats, theirs: Floats, start: int, stop: int) -> Floats:
        follows = self.sub("follows").uniform(start, stop) < self._share
        mixed: Floats = np.where(follows, theirs, own)
        return mixed


Order = NDArray[np.uint32] | Integers


@functools.lru_cache(maxsize=16)
def shuffled(stream: Stream, n: int) -> Order:
    """The numbers below n in random order, 4 bytes each while they fit.

    Kept, since every chunk of a table asks again; `shuffled.cache_clear()` gives the memory back.
    """
    order = np.argsort(stream.raw(0, n), kind="stable")
    return order.astype(np.uint32) if n < 2**32 else order.astype(np.int64)


def _unit(words: Words) -> Floats:
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(unit: Floats, n: int | Integers) -> Integers:
    """Numbers in [0, 1) as whole numbers below n (n up to 2**53)."""
    return (unit * n).astype(np.int64)


def log(x: Floats) -> Floats:
    """Natural logarithm of positive numbers, the same bits on every machine."""
    mantissa, exponent = np.frexp(x)
    small = mantissa < 0.7071067811865476
    mantissa = np.where(small, mantissa * 2.0, mantissa)
    exponent = exponent - small
    t = (mantissa - 1.0) / (mantissa + 1.0)
    square = t * t
    total = np.full_like(t, 1.0 / 23.0)
    for k in range(21, 0, -2):  # 2 artanh(t); |t| < 0.172, so terms beyond t**23 are below 1e-18
        total *= square
        total += 1.0 / k
    result: Floats = exponent * _LN2 + 2.0 * t * total
    return result


def exp(x: Floats) -> Floats:
    """e to the power x for |x| < 700, the same bits on every machine."""
    halvings = np.floor(x / _LN2 + 0.5)
    rest = x - halvings * _LN2
    total = np.ones_like(rest)
    for k in range(14, 0, -1):  # Taylor; |rest| < 0.35, so the next term is below 1e-19
        total *= rest / k
        total += 1.0
    result: Floats = np.ldexp(total, halvings.astype(np.int64))
    return result


def power(x: Floats, exponent: float) -> Floats:
    """Positive numbers to a power, the same bits on every machine."""
    return exp(exponent * log(x))


class Zipf:
    """A bounded power law over the ranks 0 to n - 1: rank k is drawn about (k + 1) ** -skew often.

    Sampled by the closed-form inverse of the continuous distribution function, so that no table of n
    numbers is needed. skew > 0; near 0 it is uniform, at 1 the first of 300,000 draws 5 %.
    """

    def __init__(self, n: int, skew: float) -> None:
        self.n = n
        self._flat = abs(1.0 - skew) < 1e-6  # the general form divides by 1 - skew
        self._rest = 1.0 - skew
        last = np.array([n + 1.0])
        self._span = float(log(last)[0]) if self._flat else float(power(last, self._rest)[0]) - 1.0

    @property
    def first_share(self) -> float:
        """The share of the first rank."""
        two = np.array([2.0])
        return float((log(two) if self._flat else power(two, self._rest) - 1.0)[0]) / self._span

    def ranks(self, unit: Floats) -> Integers:
        """Numbers in [0, 1) as ranks; increasing in `unit`."""
        scaled = unit * self._span
        place = exp(scaled) if self._flat else power(1.0 + scaled, 1.0 / self._rest)
        return np.clip(place.astype(np.int64) - 1, 0, self.n - 1)

    def counts(self, total: int) -> Integers:
        """`total` things shared among the n ranks by their weights; sums to `total`."""
        edges = np.arange(2, self.n + 2, dtype=np.float64)
        cumulative = (log(edges) if self._flat else power(edges, self._rest) - 1.0) / self._span
        upto = np.floor(cumulative * total + 0.5).astype(np.int64)
        upto[-1] = total
        return np.diff(upto, prepend=0)
