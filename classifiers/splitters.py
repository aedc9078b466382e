"""The names of the word splitters, apart from the code that splits: settings name them where nothing is split."""

HEADWATER, DATATROVE = SPLITTERS = ("headwater", "datatrove")
"""What `score.words` may be: words by `classifiers.words`, or by `classifiers.datatrove_words`."""
