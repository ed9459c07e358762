"""Configs: frozen records with a help text under each field, read from TOML and from `--section.field VALUE`, refused when anything is off.

Each room keeps its own section beside its code, as a `Section`; the pipeline puts them together. Unknown names are refused with the nearest right one.
"""

import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, field_validator

from seqgen.errors import UserError

MAX_TOML_BYTES, MAX_TOML_LINE = 100_000, 8_000


class Section(BaseModel):
    """The base of every config record: frozen, nothing unknown, nothing coerced from the wrong type, numbers finite, defaults checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _exactly_the_type(cls, value: Any, info: Any) -> Any:
        annotation = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError("input should not be true or false")
        return "none" if value is None and "none" in get_args(annotation) else value  # the command line cannot tell the word from nothing


def interval(least: float, most: float) -> Any:
    """The type of a field that holds two numbers, the first not above the second, both from `least` to `most`."""

    def check(bounds: tuple[float, float]) -> tuple[float, float]:
        if not least <= bounds[0] <= bounds[1] <= most:
            raise ValueError(f"must be two numbers, the first not above the second, from {least:g} to {most:g}")
        return bounds

    return Annotated[tuple[float, float], AfterValidator(check)]


SectionType = TypeVar("SectionType", bound=Section)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_TOML_BYTES + 1)
        _refuse_long(path, content)
        return tomllib.loads(content.decode())
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such config file; `seqgen config list` names the shipped ones") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not a TOML file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also of text that is none, of numbers of thousands of digits, and of tables within tables without end
        raise UserError(f"{path}: not valid TOML: {error}") from None


def _refuse_long(path: Path, content: bytes) -> None:
    """Python's reader needs time that grows with the square of a key's parts: 40 seconds for a line of 100,000 characters."""
    for number, line in enumerate(content.splitlines(), 1):
        if len(line) > MAX_TOML_LINE:
            raise UserError(f"{path}, line {number}: has more than {MAX_TOML_LINE:,} characters, no config file")
    if len(content) > MAX_TOML_BYTES:
        raise UserError(f"{path}: has more than {MAX_TOML_BYTES:,} bytes, no config file")


def read_config(model: type[SectionType], path: Path, overrides: Mapping[str, Any]) -> SectionType:
    """A config file with fields replaced by their dotted names; a mistake is laid at the door of the one that made it, the file or the command line."""
    tables = read_toml(path)
    config = build(model, tables, where=str(path))
    for name, value in overrides.items():
        tables = overlay(tables, name, value)
    return build(model, tables, where="command line") if overrides else config


def shipped_configs(kind: str = "") -> dict[str, Path]:
    """Name to file of the configs that come with seqgen: in the package when it was installed, beside it in a checkout. `kind`: those in a folder of that
    name ("train", "domains"), else the generating ones."""
    package = Path(__file__).parent
    folder = next((f / kind for f in (package / "configs", package.parent / "configs") if f.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.toml"))} if folder else {}


def find_config(name: str, kind: str = "") -> Path:
    """The file of a config given as a path or as the name of a shipped one of that kind."""
    shipped = shipped_configs(kind)
    if name in shipped:
        return shipped[name]
    if not name.endswith(".toml") and "/" not in name:
        raise UserError(f"{name}: no such config{_nearest(name, list(shipped))}; shipped: {', '.join(shipped)}; a file needs the ending .toml")
    return Path(name)


def overlay(tables: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """`tables` with the value at `section.field` replaced; `-` and `_` are the same in names."""
    head, _, rest = dotted.replace("-", "_").partition(".")
    inner = tables.get(head, {})
    if rest and not isinstance(inner, dict):
        raise UserError(f"{head}: is a value, not a section, so {dotted} cannot be set")
    return {**tables, head: overlay(inner, rest, value) if rest else value}


def parse_overrides(words: list[str], aliases: Mapping[str, str]) -> dict[str, Any]:
    """`--section.field VALUE ...` as a dict of full names; several values, or numbers with commas between, are a list. `-` and `_` are the same in names."""
    found: dict[str, Any] = {}
    name = None
    for word in words:
        if word.startswith("--") and not _is_number(word):
            name, equals, value = word[2:].partition("=")
            name = aliases.get(name.replace("-", "_"), name.replace("-", "_"))
            if name in found:
                raise UserError(f"command line: --{name} is given twice")
            found[name] = [value] if equals else []
        elif name is None:
            raise UserError(f"command line: unexpected {word!r}; a field is set by --section.field VALUE")
        else:
            found[name].append(word)
    for name, values in found.items():
        if not values:
            raise UserError(f"command line: --{name} needs a value")
    return {name: _value(values) for name, values in found.items()}


def _value(words: list[str]) -> Any:
    if len(words) == 1 and "," in words[0] and all(map(_is_number, words[0].strip("[]").split(","))):
        words = words[0].strip("[]").split(",")
    if len(words) > 1:
        return words
    return None if words[0].lower() in ("none", "null") else words[0]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def build(model: type[SectionType], tables: dict[str, Any], *, where: str) -> SectionType:
    """The config of `tables`, or a UserError of one line that starts with `where` and names the key.

    Text from the command line becomes numbers, booleans or lists where the field asks for them, exactly as JSON would write them.
    """
    try:
        return model.model_validate(tables)
    except ValidationError as error:
        raise UserError(_explain(error, model, where)) from None


def config_digest(tables: dict[str, Any]) -> str:
    """sha256 of a config in canonical JSON."""
    return hashlib.sha256(json.dumps(tables, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def field_table(model: type[Section], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(dotted name, default, help) of every field, in order, for `--help` and the docs."""
    for name, field in model.model_fields.items():
        dotted = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from field_table(field.annotation, dotted + ".")
        else:
            default = "" if field.is_required() else json.dumps(field.get_default(call_default_factory=True), default=str)
            yield dotted, default, (field.description or "").replace("\n", " ")


def _explain(error: ValidationError, model: type[Section], where: str) -> str:
    first = error.errors()[0]
    dotted = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        if isinstance(first["input"], dict) and first["input"]:
            dotted += f".{next(iter(first['input']))}"
        names = [name for name, *_ in field_table(model)]
        sections = [] if "." in dotted else [name for name in model.model_fields if name not in names]
        return f"{where}: unknown key {dotted}{_nearest(dotted, [*names, *sections])}"
    got = json.dumps(first["input"], default=str)
    message = first["msg"][0].lower() + first["msg"][1:]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if not dotted:  # of several fields together; the message names them
        return f"{where}: {message.removeprefix('value error, ')}{more}"
    if isinstance(first["input"], dict):  # of several fields of a section
        return f"{where}: {dotted}: {message.removeprefix('value error, ').removeprefix(f'{dotted}: ')}{more}"
    return f"{where}: {dotted} = {got}: {message.removeprefix('value error, ')}{more}"


def _nearest(name: str, names: list[str]) -> str:
    by_last = {full.rpartition(".")[2]: full for full in names}
    close = difflib.get_close_matches(name, names, 1, 0.6) or [by_last[n] for n in difflib.get_close_matches(name.rpartition(".")[2], list(by_last), 1, 0.6)]
    return f"; did you mean {close[0]}?" if close else ""
