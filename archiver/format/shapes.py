"""Images and keys that are canonical because an earlier one of the same shape was: for the short road, `bulk_check`.

A shape is the text of one canonical image with its contents left open: which members, of which types, in which order.
Law: a text that matches a shape, and in which JSON escapes nothing, is canonical and holds attribute values. For names
stand where they stood in a text that was checked, contents are what their type allows, and a string without an escape
is its own canonical text. What matches no shape is not refused: it is checked in full (`is_canonical_image`).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import orjson

from archiver.format.canonical import canonical
from archiver.format.keytext import key_text
from archiver.format.record import item_key_text, key_hints
from archiver.format.values import check_attributes

# What canonical JSON never holds as itself inside a string, the quotation mark excepted: it ends the string.
_ESCAPED: Final = bytes(range(0x20)) + b"\\"

# Nothing here could be matched in a second way: `+` behind a quantifier spares the search for one.
_TEXT: Final = '"[^"]*+"'
# Less than §4 allows: whatever is spelled otherwise takes the long road.
_NUMBER: Final = r'"-?[0-9]++(?:\.[0-9]++)?+"'
# RFC 4648 §4; the bits that padding leaves over are zero, as `check_attributes` demands.
_BASE64: Final = "[A-Za-z0-9+/]"
_BINARY: Final = f'"(?:{_BASE64}{{4}})*+(?:{_BASE64}{{2}}[AEIMQUYcgkosw048]=|{_BASE64}[AQgw]==)?"'
_CONTENTS: Final = {"S": _TEXT, "N": _NUMBER, "B": _BINARY, "BOOL": "(?:true|false)", "NULL": "true"}
_ELEMENTS: Final = {"SS": _TEXT, "NS": _NUMBER, "BS": _BINARY}
# In a key a number stands in its normal spelling: whole ones here, which have key text; the others take the long road.
_KEY_CONTENTS: Final = {"S": '"([^"]*)"', "N": '"(0|-?[1-9][0-9]{0,37})"', "B": f'"({_BINARY[1:-1]})"'}

_SHAPES: Final = 3  # a miss costs as many attempts
_SHAPES_PER_NAME: Final = 4
_LARGEST_SHAPE: Final = 16_384  # characters of a pattern
# To compile a pattern takes as long as to check some hundred images in full: in the long run, no more time is spent on
# the one than on the other.
_MISSES_PER_LESSON: Final = 400
_KEY_SHAPES: Final = 8

Hints = tuple[str | None, str | None]
_Matches = Callable[[bytes], re.Match[bytes] | None]
_NOTHING: Final = re.compile(rb"(?!)").fullmatch


class ImageShapes:
    """The shapes of the images seen so far: the latest in use first, and last of all the one that holds every
    attribute ever seen, each there or not. `misses` counts the images that were checked in full.

    Each change makes new tuples, so that several threads may ask at once.
    """

    def __init__(self) -> None:
        self._matches: tuple[_Matches, ...] = (_NOTHING,)
        self._any_of: _Matches = _NOTHING
        self._seen: dict[str, tuple[str, ...]] = {}  # shapes of an attribute's values, by its name
        self.misses = 0
        self._next_lesson = 1

    def is_canonical(self, text: bytes) -> bool:
        """Whether a text is the canonical text of an image."""
        if len(text.translate(None, _ESCAPED)) == len(text) and (text.isascii() or _is_utf8(text)):
            matches = self._matches
            if matches[0](text):
                return True
            for place in range(1, len(matches)):
                if matches[place](text):
                    self._matches = (matches[place], *matches[:place], *matches[place + 1 :])
                    return True
            if text.endswith(b"}") and self._any_of(text):
                return True
        return self._is_canonical_by_value(text)

    def are_canonical(self, texts: Sequence[bytes | None]) -> list[bool]:
        """The same of many texts in which nothing is escaped and that are ASCII; true of None."""
        first = self._matches[0]
        found = [text is None or first(text) is not None for text in texts]
        if False in found:
            found = [known or self.is_canonical(text or b"") for known, text in zip(found, texts, strict=True)]
        return found

    def _is_canonical_by_value(self, text: bytes) -> bool:
        image = _loaded(text)
        if not is_canonical_image(image, text):
            return False
        self.misses += 1
        if self.misses >= self._next_lesson:
            self._next_lesson = self.misses + min(self.misses, _MISSES_PER_LESSON)
            self._learn(image)
        return True

    def _learn(self, image: Mapping[str, Any]) -> None:
        shapes = {name: _value_shape(value) for name, value in image.items()}
        pattern = _members(shapes.items())
        if len(pattern) > _LARGEST_SHAPE:
            return
        matches: _Matches = re.compile(pattern.encode()).fullmatch
        self._matches = (matches, *self._matches)[:_SHAPES]
        seen = dict(self._seen)
        for name, shape in shapes.items():
            seen[name] = tuple(dict.fromkeys((*seen.get(name, ()), shape)))[:_SHAPES_PER_NAME]
        pattern = _any_of(seen)
        if seen != self._seen and len(pattern) <= _LARGEST_SHAPE:
            self._seen, self._any_of = seen, re.compile(pattern.encode()).fullmatch


def _any_of(seen: Mapping[str, Iterable[str]]) -> str:
    """Any of these members in canonical order, each at most once. A comma follows, or the end: so a text that matches
    and ends with a brace has a comma between each two and nowhere else."""
    members = []
    for name in orjson.loads(canonical(dict.fromkeys(seen))):
        values = "|".join(seen[name])
        members.append(f"(?:{re.escape(canonical(name).decode())}:(?:{values})(?:,|\\}}\\Z)|)")
    return "\\{" + "".join(members)


class KeyShapes:
    """The shapes of the item keys seen so far.

    `key_names` are the key attributes in schema order; None when the schema is not known, and then either order will
    do for the hints. `texts` are the keys of strings among them, `misses` counts the keys that were checked in full.
    """

    def __init__(self, key_names: tuple[str, ...] | None) -> None:
        self._key_names = key_names
        self.texts: list[TextKey] = []
        self.misses = 0
        self._shapes: list[KeyShape] = []

    def is_canonical(self, text: bytes, pk: str | None, sk: str | None) -> bool:
        """Whether a text is an item key in normal spelling, with `pk` and `sk` that belong to it."""
        if len(text.translate(None, _ESCAPED)) == len(text):
            for known in self.texts:
                if known.is_key(text, pk, sk):
                    return True
            if text.isascii() or _is_utf8(text):
                for shape in self._shapes:
                    if shape.is_key(text, pk, sk):
                        return True
        return self._is_canonical_by_value(text, (pk, sk))

    def _is_canonical_by_value(self, text: bytes, hints: Hints) -> bool:
        keys = _loaded(text)
        if not is_canonical_key(keys, text, hints, self._key_names):
            return False
        self.misses += 1
        shape = KeyShape.of(keys, self._key_names)
        if shape is not None and shape not in self._shapes and len(self._shapes) < _KEY_SHAPES:
            self._shapes.append(shape)
        known = TextKey.of(keys, hints)
        if known is not None and known not in self.texts and len(self.texts) < _KEY_SHAPES:
            self.texts.append(known)
        return True


class TextKey(NamedTuple):
    """A key of strings, whose key text are the strings themselves: what stands around them.

    `middle` is None for a key of one attribute. `is_reversed`: the sort key stands first.
    """

    head: str
    middle: str | None
    tail: str
    quotes: int
    is_reversed: bool

    @classmethod
    def of(cls, keys: Mapping[str, Any], hints: Hints) -> Self | None:
        """From a canonical key and hints that belong to it; None if it holds anything but strings."""
        contents = tuple(value.get("S") for value in keys.values())
        if hints not in {(*contents, None)[:2], contents[::-1]} or None in contents:
            return None
        head, *middle = (f'{canonical(name).decode()}:{{"S":"' for name in keys)
        parts = ("{" + head, '"},' + middle[0] if middle else None, '"}}')
        quotes = sum(part.count('"') for part in parts if part is not None)
        return cls(*parts, quotes, is_reversed=len(contents) > 1 and hints != contents)

    def is_key(self, text: bytes, pk: str | None, sk: str | None) -> bool:
        """Whether a text in which nothing is escaped is this key with these strings."""
        if pk is None or (sk is None) != (self.middle is None):
            return False
        if self.middle is None:
            expected = f"{self.head}{pk}{self.tail}"
        elif self.is_reversed:
            expected = f"{self.head}{sk}{self.middle}{pk}{self.tail}"
        else:
            expected = f"{self.head}{pk}{self.middle}{sk}{self.tail}"
        # A lone surrogate becomes an escape, which such a text does not hold.
        return text == expected.encode("utf-8", "backslashreplace") and text.count(b'"') == self.quotes


class KeyShape(NamedTuple):
    """A key of any types, for which key text is worked out. `order`: the place of the partition key, and of the sort
    key, in the text; None when either may be either."""

    matches: _Matches
    tags: tuple[str, ...]
    order: tuple[int, ...] | None

    @classmethod
    def of(cls, keys: Mapping[str, Any], key_names: tuple[str, ...] | None) -> Self | None:
        """From a canonical key; None if it is another schema's than `key_names`: then it has no hints."""
        names = tuple(keys)
        order: tuple[int, ...] | None = None
        if len(names) > 1 and key_names is not None:
            if sorted(key_names) != sorted(names):
                return None
            order = tuple(names.index(name) for name in key_names)
        tags = tuple(tag for value in keys.values() for tag in value)
        shapes = (f'\\{{"{tag}":{_KEY_CONTENTS[tag]}\\}}' for tag in tags)
        pattern = _members(zip(names, shapes, strict=True))
        return cls(re.compile(pattern.encode()).fullmatch, tags, order)

    def is_key(self, text: bytes, pk: str | None, sk: str | None) -> bool:
        """Whether a text of UTF-8 without an escape is such a key, with hints that are NULL or belong to it."""
        match = self.matches(text)
        if match is None:
            return False
        if pk is None and sk is None:
            return True
        texts = [key_text({tag: part.decode()}) for tag, part in zip(self.tags, match.groups(), strict=True)]
        if len(texts) == 1:
            return pk == texts[0] and sk is None
        if self.order is None:
            return [pk, sk] in (texts, texts[::-1])
        return [pk, sk] == [texts[place] for place in self.order]


def is_canonical_image(image: Any, text: bytes) -> bool:
    """Whether `text`, of which `image` is the value, is the canonical text of an image."""
    try:
        check_attributes(image)
        return canonical(image) == text
    except (ValueError, TypeError):
        return False


def is_canonical_key(keys: Any, text: bytes, hints: Hints, key_names: tuple[str, ...] | None) -> bool:
    """Whether `text`, of which `keys` is the value, is an item key, and `hints` are NULL or its key text."""
    try:
        return item_key_text(keys) == text and hints in possible_hints(keys, key_names)
    except (ValueError, TypeError):
        return False


def possible_hints(keys: Mapping[str, Any], key_names: tuple[str, ...] | None) -> list[Hints]:
    """No hint, or those of the schema; of either order of the key attributes, when the schema is not known: which one
    is the partition key, no record says."""
    if key_names is not None:
        return [(None, None), key_hints(keys, key_names)]
    names = tuple(keys)
    return [(None, None), key_hints(keys, names), key_hints(keys, names[::-1])]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _loaded(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return None


def _shape_of(attributes: Mapping[str, Any]) -> str:
    return _members((name, _value_shape(value)) for name, value in attributes.items())


def _members(members: Iterable[tuple[str, str]]) -> str:
    return "\\{" + ",".join(f"{re.escape(canonical(name).decode())}:{shape}" for name, shape in members) + "\\}"


def _value_shape(value: Mapping[str, Any]) -> str:
    ((tag, content),) = value.items()
    if tag == "M":
        shape = _shape_of(content)
    elif tag == "L":
        shape = _list_shape([_value_shape(element) for element in content])
    elif tag in _ELEMENTS:
        shape = _list_shape([_ELEMENTS[tag]])
    else:
        shape = _CONTENTS[tag]
    return f'\\{{"{tag}":{shape}\\}}'


def _list_shape(elements: list[str]) -> str:
    """Of any length if all elements have one shape, else these in this order."""
    if len(set(elements)) == 1:
        return f"\\[(?:{elements[0]}(?:,{elements[0]})*+)?+\\]"
    return "\\[" + ",".join(elements) + "\\]"
