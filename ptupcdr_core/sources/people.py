"""Which ids of several domains are one person, and which people are forgotten, so that their rows are dropped."""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.table_file import read_table, texts
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced


@dataclass(frozen=True)
class People:
    """The catalog's table of people: one row a person, one column a domain.

    Args:
        ids: the columns by domain, of N rows each; None where a person has no id there.
        persons: (N,) each person's name: their id in the first domain of the table in which they have one.
    """

    ids: Mapping[str, list[str | None]]
    persons: list[str | None]

    @classmethod
    def read(cls, domain: Domain) -> Self | None:
        """Read the table that a domain's catalog names; None where it names none.

        Raises:
            SourceError: the file is missing or damaged, lacks a column, or an id stands in two rows.
        """
        if domain.people is None:
            return None
        path = domain.folder / Path(domain.people.path).expanduser()
        table = read_table(path, [*domain.people.columns.values()], domain.people.format)
        named = domain.people.columns
        remedy = "Set people.columns in the catalog, domain by domain"
        found = {}
        for name, values in zip(named, texts(table, [*named.values()], path, remedy), strict=True):
            found[name] = [value or None for value in values]
            _refuse_repeats(name, found[name], path)
        return cls(found, [next((id for id in row if id), None) for row in zip(*found.values(), strict=True)])

    def person_of(self, domain: str) -> pa.Table:
        """The ids of a domain, as they are written there, with the person's name."""
        rows = [(id, person) for id, person in zip(self.ids.get(domain, []), self.persons, strict=False) if id]
        written, persons = zip(*rows, strict=True) if rows else ((), ())
        return pa.table({"written": pa.array(written, pa.string()), "person": pa.array(persons, pa.string())})

    def all_ids(self, user: str) -> list[str]:
        """Every id of the people who have this one in some domain, itself too."""
        rows = [row for row in zip(*self.ids.values(), strict=True) if user in row]
        return [user, *(id for row in rows for id in row if id and id != user)]


@dataclass(frozen=True)
class Forgotten:
    """Ids whose rows are dropped, kept as salted hashes, so that the list itself names nobody.

    Args:
        path: of the list.
        salt: this home's own.
        hashes: of the ids.
    """

    path: Path
    salt: str
    hashes: frozenset[str]

    @classmethod
    def of(cls, home: Home) -> Self:
        """The list of a home, empty where there is none.

        Raises:
            SourceError: it is damaged, so that it is unknown whom to leave out.
        """
        path = home.root / "forgotten.json"
        try:
            known = json.loads(path.read_text()) if path.is_file() else {"salt": secrets.token_hex(16), "hashes": []}
            return cls(path, str(known["salt"]), frozenset(known["hashes"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SourceError(f"{path} is damaged ({error!r}), and says whose rows to leave out: restore it") from error

    def hash(self, user: str) -> str:
        """The hash of an id, with this home's salt."""
        return hashlib.sha256(f"{self.salt}{user}".encode()).hexdigest()

    def stand_in(self, connection: duckdb.DuckDBPyConnection, index: int) -> bool:
        """Whether one of these ids stands in a staged file."""
        if not self.hashes:
            return False
        query = (
            "select 1 from (select distinct user_id from staged where file_index = ?) "
            "where list_contains(?, sha256(? || user_id)) limit 1"
        )
        return bool(connection.execute(query, [index, sorted(self.hashes), self.salt]).fetchall())

    def add(self, users: Iterable[str]) -> Self:
        """Store the list with these ids added, and return it."""
        hashes = self.hashes | {self.hash(user) for user in users}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(self.path) as temporary:
            temporary.write_text(json.dumps({"salt": self.salt, "hashes": sorted(hashes)}))
        return type(self)(self.path, self.salt, hashes)


def note_people(connection: duckdb.DuckDBPyConnection, domain: Domain, home: Home) -> None:
    """Make the temporary tables that tell cleaning whose a row is: ``person_of`` and ``forgotten``; mostly empty.

    Raises:
        SourceError: see ``People.read`` and ``Forgotten.of``.
    """
    people, dropped = People.read(domain), Forgotten.of(home)
    table = (people or People({}, [])).person_of(domain.name)
    hashes = pa.table({"hash": pa.array(sorted(dropped.hashes), pa.string())})
    for name, rows in {"given_people": table, "given_hashes": hashes}.items():
        connection.register(name, rows)
    connection.execute("create temp table person_of as select written, person from given_people")
    connection.execute("create temp table forgotten (user_id varchar)")
    if dropped.hashes:
        connection.execute(
            "insert into forgotten select user_id from (select distinct user_id from staged "
            "union select distinct person from person_of) semi join given_hashes on sha256(? || user_id) = hash",
            [dropped.salt],
        )
    for name in ("given_people", "given_hashes"):
        connection.unregister(name)


def _refuse_repeats(domain: str, ids: list[str | None], path: Path) -> None:
    rows: dict[str, int] = {}
    for row, id in enumerate(ids, 1):
        if id and rows.setdefault(id, row) != row:
            raise SourceError(
                f"{path}: the id {id!r} of {domain} stands in rows {rows[id]} and {row}: one id is one person, so "
                "leave it in one of them"
            )
