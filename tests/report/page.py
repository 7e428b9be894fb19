"""A page as its elements, for the tests of the report."""

from html.parser import HTMLParser
from typing import NamedTuple

VOID = {'meta', 'link', 'img', 'circle', 'line', 'polyline', 'rect', 'image'}


class Element(NamedTuple):
    """An element and those around it."""

    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...]


class Page(HTMLParser):
    """Collects the elements and texts of a page; its tags must close in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or '' for name, value in attrs}
        self.elements.append(Element(tag, attributes, tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else '', data))

    def having(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of all elements of a tag."""
        return [element.attributes for element in self.elements if element.tag == tag]

    def text_in(self, tag: str) -> list[str]:
        """Return the texts directly within elements of a tag."""
        return [text for around, text in self.texts if around == tag]

    @property
    def ids(self) -> list[str]:
        """All ids."""
        return [e.attributes['id'] for e in self.elements if 'id' in e.attributes]

    @property
    def references(self) -> list[str]:
        """All that the page refers to."""
        names = ('src', 'href', 'xlink:href', 'srcset', 'action', 'data', 'poster')
        return [e.attributes[name] for e in self.elements for name in names if name in e.attributes]

    def check_needs_nothing_else(self) -> None:
        """Fail where it refers to anything but itself and the pictures within."""
        for reference in self.references:
            own = reference.startswith('#') and reference[1:] in self.ids
            assert own or reference.startswith('data:'), reference
