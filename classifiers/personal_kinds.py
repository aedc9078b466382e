"""The kinds of personal data by the names that a recipe gives them, apart from the kernels that find them."""

KIND_NAMES = ("email", "ip", "phone", "card", "key")
"""In the order of `classifiers.personal_data.KINDS`."""
MASKS = ("<EMAIL_ADDRESS>", "<IP_ADDRESS>", "<PHONE_NUMBER>", "<CARD_NUMBER>", "<SECRET_KEY>")
"""What stands in a masked text for each of them: it still says what was there, and is never taken for personal data."""


def check_kinds(kinds: tuple[str, ...], key: str) -> None:
    """Raises ValueError, naming `key`, unless `kinds` are of `KIND_NAMES`, each at most once."""
    unknown = next((kind for kind in kinds if kind not in KIND_NAMES), None)
    if unknown is not None:
        raise ValueError(f"{key} = {list(kinds)!r}: {unknown!r} is no kind of personal data; known are {', '.join(KIND_NAMES)}")
    if len(set(kinds)) != len(kinds):
        raise ValueError(f"{key} = {list(kinds)!r}: names a kind twice; name each once")
