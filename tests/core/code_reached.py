"""The code that a result comes from: what the function that makes it can reach, as far as names show.

The names in a function are followed to the package's definitions, and theirs in turn. A method of a class counts if its
name is mentioned somewhere in the code reached; an SQL statement or another file of the package, if its name occurs
there as text. The code reached is compared by its syntax: comments, docstrings, types of arguments, imports, and the
module in which something stands make no difference.

As a script (``make same-results``) it records the digests of the code as it stands.
"""

import ast
import hashlib
import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ptupcdr_core
from ptupcdr_core.versions import RESULTS

RECORD = Path(__file__).with_name("code_digests.json")
ENTRIES = {
    "raw_ratings": ["sources.ingest:ingest_domain"],
    "domain_splits": ["data.splits:build_split"],
    "source_model": ["stages.pretraining:pretrain"],
    "target_model": ["stages.pretraining:pretrain"],
    "meta_network": ["stages.bridges:train_bridges"],
    "bridged_embeddings": ["stages.embeddings:bridge_cold_users"],
    "cold_start_evaluation": ["stages.evaluation:evaluate_cold_start"],
    "fine_tuned_embeddings": ["stages.warm_start:fine_tune"],
    "warm_start_evaluation": ["stages.warm_start:evaluate_warm_start"],
    "champion": ["gate.decision:judge", "gate.decision:keep_verdict"],
    "deployed_model": ["stages.deployment:deploy"],
    "recommendations": ["stages.recommendations:recommend_cold_users"],
    "pair_report": ["report.page:make_report"],
    "benchmark": ["experiments.benchmark:run_benchmark"],
    "benchmark_cell": ["experiments.benchmark:_measure", "data.scratch_splits:ScratchSplits"],
    "list_cell": ["experiments.whole:measure_lists"],
    "rating_trial": ["experiments.search:_run", "experiments.objectives:measure_ratings"],
    "ranking_trial": ["experiments.search:_run", "experiments.objectives:measure_lists"],
}
"""Where the code of each result begins, as ``module:name`` in the core."""
QUIET = {"abstractmethod", "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "inlined", "loop",
         "overload", "property", "runtime_checkable", "staticmethod"}  # fmt: skip
"""Decorators that register nothing; under any other, a definition counts as soon as its module does."""
SAID = {"settings:Settings", "versions:RESULTS"}
"""Whose values are already part of fingerprints."""


@dataclass(frozen=True)
class Statement:
    """A definition, or another top-level statement of a module, taken apart.

    Args:
        text: Its syntax, without methods that count only if their names are mentioned.
        names: The names that it reads.
        attributes: (module or None, name) of the attributes that it reads.
        texts: The string constants in it.
        methods: Its methods that count only if their names are mentioned.
    """

    text: str
    names: frozenset[str]
    attributes: frozenset[tuple[str | None, str]]
    texts: frozenset[str]
    methods: dict[str, "Statement"]


@dataclass(frozen=True)
class Module:
    """A module, taken apart.

    Args:
        definitions: Its top-level statements, by the names that they define.
        imports: What its imported names stand for, as (module, name in it or None).
        effects: Its other statements, and definitions that a decorator registers, by some name.
    """

    definitions: dict[str, Statement]
    imports: dict[str, tuple[str, str | None]]
    effects: dict[str, Statement]


@dataclass
class Code:
    """A package's code, which is read, never run.

    Args:
        root: The package's folder.
    """

    root: Path = Path(ptupcdr_core.__file__).parent
    _modules: dict[str, Module | None] = field(default_factory=dict)

    def module(self, name: str) -> Module | None:
        """A module by its dotted name; None if it is not part of the package."""
        if name not in self._modules:
            path = self.root.parent.joinpath(*name.split("."))
            source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            ours = name.partition(".")[0] == self.root.name and source.is_file()
            self._modules[name] = self._take_apart(ast.parse(source.read_text(encoding="utf-8"))) if ours else None
        return self._modules[name]

    def _take_apart(self, tree: ast.Module) -> Module:
        imports: dict[str, tuple[str, str | None]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                imports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                imports |= {alias.asname: (alias.name, None) for alias in node.names if alias.asname}
        module = Module({}, imports, {})
        for number, node in enumerate(tree.body):
            if _tells_nothing(node):
                continue
            names, statement = list(_names_defined(node)), self._statement(node, imports)
            module.definitions.update(dict.fromkeys(names, statement))
            if not names or _is_registered(node):
                module.effects[names[0] if names else f"statement {number}"] = statement
        return module

    def _statement(self, node: ast.stmt, imports: dict[str, tuple[str, str | None]]) -> Statement:
        own, methods = node, []
        if isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, ast.FunctionDef) and _counts_by_name(part)]
            rest = [part for part in node.body if part not in methods]
            own = ast.ClassDef(**dict(ast.iter_fields(node)) | {"body": rest})
        names: set[str] = set()
        texts: set[str] = set()
        attributes: set[tuple[str | None, str]] = set()
        for part in ast.walk(own):
            match part:
                case ast.Name(id=name):
                    names.add(name)
                case ast.Attribute(value=ast.Name(id=of), attr=name) if of in imports:
                    target, original = imports[of]
                    attributes.add((target if original is None else f"{target}.{original}", name))
                case ast.Attribute(attr=name):
                    attributes.add((None, name))
                case ast.Constant(value=str() as text):
                    texts.add(text)
        own_methods = {method.name: self._statement(method, imports) for method in methods}
        return Statement(syntax(own), frozenset(names), frozenset(attributes), frozenset(texts), own_methods)

    def files(self) -> dict[str, Path]:
        """Files of the package that are not Python, by the name that code uses for them."""
        kinds = (".sql", ".j2", ".csv", ".toml")
        paths = [path for path in sorted(self.root.rglob("*.*")) if path.suffix in kinds]
        return {path.stem if path.suffix == ".sql" else path.name: path for path in paths}


class Reached:
    """Everything that some entries reach.

    Args:
        code: The package's code.
        entries: Entry points, as ``module:name``.
    """

    def __init__(self, code: Code, *entries: str) -> None:
        self.parts: dict[str, str] = {}
        """The syntax of each statement by its place, and the text of each file."""
        self._code, self._files = code, code.files()
        self._mentioned: set[str] = set()
        self._waiting: dict[str, list[tuple[str, str, Statement]]] = {}
        """Methods of reached classes by their names, until those are mentioned."""
        for entry in entries:
            module, _, name = entry.partition(":")
            if not self._name(f"{code.root.name}.{module}", name):
                raise LookupError(f"{entry} is not in {code.root}: mend ENTRIES in {__file__}")

    def digest(self) -> str:
        """Digest of the syntax of everything reached."""
        return hashlib.sha256("\n".join(sorted(self.parts.values())).encode()).hexdigest()

    def _name(self, where: str, name: str) -> bool:
        """Reach what a name means in a module; False if that is not part of the package."""
        module = self._code.module(where)
        if module is None:
            return False
        if name in module.definitions:
            for number, effect in module.effects.items():
                self._reach(where, number, effect)
            self._reach(where, name, module.definitions[name])
            return True
        target, original = module.imports.get(name, ("", None))
        return original is not None and self._name(target, original)

    def _reach(self, where: str, name: str, statement: Statement) -> None:
        place = f"{where.partition('.')[2]}:{name}"
        if place in self.parts:
            return
        self.parts[place] = "" if place in SAID else statement.text
        for method, own in statement.methods.items():
            if method in self._mentioned:
                self._reach(where, f"{name}.{method}", own)
            else:
                self._waiting.setdefault(method, []).append((where, f"{name}.{method}", own))
        if place in SAID:
            return
        for read in statement.names:
            self._name(where, read)
        for of, attribute in statement.attributes:
            if of is not None:
                self._name(of, attribute)
            if attribute not in self._mentioned:
                self._mentioned.add(attribute)
                for waiting in self._waiting.pop(attribute, []):
                    self._reach(*waiting)
        for text in statement.texts & self._files.keys():
            content = self._files[text].read_text(encoding="utf-8")
            self.parts[text] = plain_sql(content) if self._files[text].suffix == ".sql" else content


def _names_defined(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _tells_nothing(statement: object) -> bool:
    """Imports (also those for types only), and texts for people."""
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def _is_registered(statement: ast.stmt) -> bool:
    return any(_called(decorator) not in QUIET for decorator in getattr(statement, "decorator_list", []))


def _called(decorator: ast.expr) -> str:
    match decorator:
        case ast.Call(func=function):
            return _called(function)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _counts_by_name(method: ast.FunctionDef) -> bool:
    return not (method.name.startswith("__") and method.name.endswith("__")) and not _is_registered(method)


def syntax(node: object) -> str:
    """A tree as text, the same under every version of Python, without what makes no difference to results."""
    if isinstance(node, list):
        return f"[{', '.join(syntax(item) for item in node if not _tells_nothing(item))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    left_out = {"ctx", "kind", "type_comment"}
    if isinstance(node, ast.arg | ast.FunctionDef):
        left_out |= {"annotation", "returns"}
    shown = {name: syntax(value) for name, value in ast.iter_fields(node) if name not in left_out and value is not None}
    return f"{type(node).__name__}({', '.join(f'{name}={text}' for name, text in shown.items() if text != '[]')})"


def plain_sql(text: str) -> str:
    """A statement without comments, and with single blanks as white space; what is in quotes stays as it is."""
    tokens = re.findall(r"'(?:[^']|'')*'|(?:--[^\n]*|/\*.*?\*/|\s)+|[^\s'/-]+|.", text, flags=re.DOTALL)
    return "".join(" " if token[0].isspace() or token[:2] in ("--", "/*") else token for token in tokens).strip()


def current() -> dict[str, dict[str, Any]]:
    """Version and digest of every result; methods by their modules, with one version per method."""
    code = Code()
    places: dict[str, tuple[Any, list[str]]] = {name: (RESULTS[name].version, ENTRIES[name]) for name in RESULTS}
    for path in sorted((code.root / "methods").glob("*.py")):
        module, name = importlib.import_module(f"{code.root.name}.methods.{path.stem}"), f"methods.{path.stem}"
        if hasattr(module, "METHODS"):
            places[name] = ({method.name: method.version for method in module.METHODS}, [f"{name}:METHODS"])
    return {
        name: {"version": version, "digest": Reached(code, *entries).digest()}
        for name, (version, entries) in places.items()
    }


def complaint(recorded: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> str:
    """What is left to do about code that has changed; empty if nothing is."""
    shared = [name for name in found if name in recorded]
    unsaid = [
        name
        for name in shared
        if recorded[name]["digest"] != found[name]["digest"] and recorded[name]["version"] == found[name]["version"]
    ]
    if unsaid:
        return (
            f"the code of {', '.join(unsaid)} has changed. If some give other results now, raise their versions in "
            "ptupcdr_core/versions.py (a method's own at its Method). Then, or if all results are the same: "
            "`make same-results`, and commit tests/core/code_digests.json"
        )
    return "" if recorded == found else "versions are not those that were recorded: `make same-results` records them"


def main() -> None:
    """Record the present code, and print what was recorded."""
    recorded = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    found = current()
    for name, entry in found.items():
        before = recorded.get(name, {})
        if before != entry:
            same = before.get("version") == entry["version"]
            print(f"{name}: " + ("same results" if same else f"other results, version {entry['version']}"))
    RECORD.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
