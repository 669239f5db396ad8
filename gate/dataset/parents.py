"""Which parent each row of one table has, by each of its foreign keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gate import config
from gate.dataset.fanout import Fanout, Law, Mingled, Partners, skew_for
from gate.dataset.roles import Facts, Roles, others_than
from gate.dataset.schema import Column, ForeignKey
from gate.dataset.sources import (
    Earlier,
    Even,
    InOrder,
    Places,
    Popular,
    Reference,
    Shuffled,
    Skipping,
    Source,
    Wrapped,
)
from gate.dataset.streams import Stream
from gate.dataset.surroundings import Surroundings, beyond

_SPREAD = 1.0  # default deviation of the logarithm of a number of rows
_STEEPEST = 1.5  # skew beyond which nearly all parents would have nothing
ZIPF = 0.8  # default skew: the first of 300,000 parents has 1.7 % of the rows
_OF_A_KEY = frozenset(("nulls", "distribution", "skew", "when"))
_NOTHING = config.Column()


class Parents:
    """fanout: how many rows each parent of the leading key has, where there is one. places: by key.

    stream: of the table, for a use. refuse: notes what of an override cannot be honoured, and why.
    problems: what else cannot be.
    """

    def __init__(
        self,
        facts: Facts,
        roles: Roles,
        given: Mapping[str, config.Column],
        around: Surroundings,
        stream: Callable[..., Stream],
        refuse: Callable[[Column, list[str], str], None],
        problems: list[str],
    ) -> None:
        self._facts = facts
        self._table = facts.table
        self._roles = roles
        self._given = given
        self._around = around
        self._stream = stream
        self._refuse = refuse
        self._problems = problems
        self.places: dict[ForeignKey, Places | None] = {}
        self.fanout = self._make_fanout()

    def _make_fanout(self) -> Fanout | None:
        lead = self._roles.lead
        if lead is None:
            return None
        if lead == self._facts.per:
            return self._fanout_per(lead)
        given = self._given.get(lead.columns[0], config.Column())
        skew = 0.0 if given.distribution == "uniform" else given.skew or ZIPF
        stream = self._stream(*lead.columns)
        return Fanout(stream, self._facts.rows, self._facts.parents(lead), skew, self._roles.most)

    def _fanout_per(self, key: ForeignKey) -> Fanout:
        """As the table's `per` says; at scale 1 the first parent of a power law has about `max` rows.

        At another scale the law is the same: among a hundredth of the parents nobody expects the hottest.
        """
        per, rows, parents = self._around.per, self._facts.rows, self._facts.parents(key)
        assert per is not None  # noqa: S101 - Facts.per is made of it
        most = min((m for m in (per.max, self._roles.most) if m is not None), default=None)
        least = min(per.min, rows // max(parents, 1))
        law: Law = "lognormal" if per.distribution == "lognormal" else "zipf"
        skew = per.skew or (_SPREAD if law == "lognormal" else ZIPF)
        if per.distribution == "uniform":
            skew = 0.0
        elif law == "zipf" and per.skew is None and per.max is not None and per.mean > per.min:
            whole = max(self._around.parents, 1)
            skew = min(skew_for(whole, (per.max - per.min) / (whole * (per.mean - per.min))), _STEEPEST)
        return Fanout(self._stream(*key.columns), rows, parents, skew, most, least, law)

    def reference(self, column: Column, given: config.Column) -> Source | None:
        """A column of a foreign key; None with a problem noted."""
        key = self._facts.keys[column.name]
        parents = self._facts.parents(key)
        self._refuse(column, beyond(given, _OF_A_KEY), f"it refers to {key.target}")
        if given.distribution == "lognormal":
            self._refuse(column, ["distribution = lognormal"], "zipf, uniform and sequence choose parents")
        if key not in self.places:
            self.places[key] = self._place(key, given)
        place = self.places[key]
        if isinstance(place, Shuffled) and place.parents > parents > 0:
            place = Wrapped(place, parents)
        return None if place is None else Reference(place, self._around.keys(key, column))

    def _place(self, key: ForeignKey, given: config.Column) -> Places | None:
        """The parent of each row; another one than that of a key which must differ and comes before."""
        parents = self._facts.parents(key)
        role = self._roles.columns.get(key.columns[0])
        plain = role is None or role.kind == "partner"
        if plain and parents > 1 and key.target != self._table.name and key != self._facts.per:
            for other in others_than(key, self._facts):
                if self._comes_before(other, key):
                    if other not in self.places:
                        self.places[other] = self._place(other, self._given.get(other.columns[0], _NOTHING))
                    before = self.places[other]
                    drawn = self._drawn_place(key, given, parents - 1)
                    return None if before is None or drawn is None else Skipping(drawn, before)
        return self._drawn_place(key, given, parents)

    def _comes_before(self, other: ForeignKey, key: ForeignKey) -> bool:
        """Which of two keys that must differ is drawn first: what a role or `per` decides, then by place."""

        def rank(each: ForeignKey) -> tuple[bool, bool, int]:
            role = self._roles.columns.get(each.columns[0])
            decided = each == self._facts.per or (role is not None and role.kind != "partner")
            names_ = [column.name for column in self._table.columns]
            return not decided, role is not None, names_.index(each.columns[0])

        return rank(other) < rank(key)

    def _drawn_place(self, key: ForeignKey, given: config.Column, parents: int) -> Places | None:
        stream = self._stream(*key.columns)
        role = self._roles.columns.get(key.columns[0])
        if key.target == self._table.name:
            rows = self._facts.rows
            return InOrder(rows, first=rows - 1) if role is not None else Earlier(stream)
        if parents == 0:
            self._problems.append(
                f"{self._table.name}.{', '.join(key.columns)} must refer to {key.target}, which has no rows; "
                f"set dataset.tables.{key.target}.rows, or dataset.tables.{self._table.name}.rows = 0"
            )
            return None
        if role is not None and role.kind == "lead":
            return self.fanout
        if key == self._facts.per:
            if role is None:
                return Mingled(self._fanout_per(key))
            self._refuse(
                self._table.column(key.columns[0]), ["per"], "a unique key decides how many rows a parent has"
            )
        if role is not None and role.kind == "one-to-one":
            return Shuffled(stream, max(parents, self._facts.rows))
        skew = 0.0 if given.distribution == "uniform" else given.skew or ZIPF
        if role is not None and role.kind == "partner" and self.fanout is not None:
            return Partners(self.fanout, stream, parents, skew)
        if given.distribution == "sequence":
            return InOrder(parents)
        return Even(stream, parents) if given.distribution == "uniform" else Popular(stream, parents, skew)
