"""A built site as a reader without a browser sees it: what its pages load, link to, and are made of."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser

STRUCTURE = {"h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "pre", "table", "tr", "th", "td", "blockquote"}
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}


class Page(HTMLParser):
    """What one page loads, links to, can be linked at, and the elements of its article (of all of it: `fragment`)."""

    def __init__(self, text: str, *, fragment: bool = False):
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.elements: Counter[str] = Counter()
        self._is_article = fragment
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self._is_article |= tag == "article"
        if self._is_article and tag in STRUCTURE:
            self.elements[tag] += 1
        if given.get("id"):
            self.ids.add(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in {"canonical", "prev", "next", "author"}:
            self.loads.append(given["href"])
        if given.get(LOADED.get(tag, "")):
            self.loads.append(given[LOADED[tag]])

    def handle_endtag(self, tag):
        self._is_article &= tag != "article"
