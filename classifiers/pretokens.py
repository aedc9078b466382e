"""The name of Headwater's own count of tokens, apart from the code that counts: settings name it where nothing is counted."""

PRETOKENS = "headwater-pretokens-1"
"""Name of the built-in token count, see `classifiers.words.Words.pretokens`."""
