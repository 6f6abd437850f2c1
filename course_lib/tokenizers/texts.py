"""The checks every text passes before it is tokenised."""

from collections.abc import Iterable, Iterator


def checked(text: str, name: str = "text") -> str:
    """`text` itself. TypeError if it is not a string, ValueError if it holds half of a surrogate pair."""
    if not isinstance(text, str):
        advice = ': decode it first, for example with .decode("utf-8")' if isinstance(text, bytes) else ""
        raise TypeError(f"{name} must be a str, not {type(text).__name__} ({_shortened(text)}){advice}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} holds a lone surrogate, {text[error.start]!r} at position {error.start}: half of a character, "
            "which no tokenizer can encode; repair it with "
            'text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")'
        ) from error
    return text


def checked_all(texts: Iterable[str]) -> Iterator[str]:
    """Each text of a collection, checked. A single string is an error: it would be read letter by letter."""
    if isinstance(texts, str):
        raise TypeError(f"texts is a single str ({_shortened(texts)}): pass a list of strings, [text]")
    return (checked(text, f"texts[{i}]") for i, text in enumerate(texts))


def _shortened(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
