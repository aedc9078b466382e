"""One verb a file: pure functions over Arrow and numpy, then the thin PTransform that runs them. Between pipeline and classifiers."""
