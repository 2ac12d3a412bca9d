"""YAML of people: files of a sensible size, without aliases and repeated keys."""

import re
from pathlib import Path
from typing import Any

import yaml

from engine.errors import ConfigError

MAX_BYTES = 16 * 1024 * 1024
BAD_YAML = (yaml.YAMLError, RecursionError, ValueError)


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases (no exponential growth) and without repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not allowed", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key should be a plain word", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is set twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.1 takes 1e-4 for text: it wants 1.0e-4
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def text_of(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ConfigError: it cannot be read, is too large or is not UTF-8.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: is larger than {MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: {error.reason}") from None
    except ValueError as error:  # no file system has such names
        raise ConfigError(f"{str(path)!r}: cannot be read: {error}") from None


def content_of(text: str, where: str) -> Any:
    """Return what a YAML text holds; ``where`` names it in errors.

    Raises:
        ConfigError: it is not valid YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except BAD_YAML as error:
        raise ConfigError(f"{where}: is not valid YAML: {' '.join(str(error).split())}") from None


def mapping_of(text: str, where: str) -> dict[str, Any]:
    """Return the settings that a YAML text holds.

    Raises:
        ConfigError: it is not valid YAML, or no mapping.
    """
    content = content_of(text, where)
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: should be a mapping of settings, got {content!r:.60}")
    return content
