"""N-gram language models in KenLM's binary formats (probing and trie, quantised or not), read by KenLM itself through its Python package.

A text's score is what `classifiers.arpa` gives it under the ARPA file that the binary was made from, to the rounding of the binary: each line is a
sentence, words are what white space separates. KenLM maps the file into memory, so that processes of one machine share it.

*Source:* Heafield 2011, "KenLM: Faster and Smaller Language Model Queries".
"""

import hashlib

import numpy as np

MAGIC = b"mmap lm http://kheafield.com/code format version"
"""What every file of KenLM's `build_binary` begins with. *Source:* kenlm, lm/binary_format.cc."""


def is_kenlm_binary(path: str) -> bool:
    """Whether the file begins as KenLM's binaries do. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


class KenlmModel:
    """A model in one of KenLM's binary formats, as `classifiers.arpa.ArpaModel`."""

    def __init__(self, path: str):
        """Maps the model at `path`. Raises OSError, ValueError where KenLM refuses it, ImportError without the package `kenlm`."""
        # Imported here: the extra need not be installed.
        import kenlm

        with open(path, "rb") as file:
            self.digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=6)).hexdigest()
        try:
            self._model = kenlm.Model(path)
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"{path}: KenLM cannot read it: {error}; make it anew with the build_binary of this version") from error
        self.order = self._model.order

    def log10_and_tokens(self, utf8: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """float64[n, 2]: for each text of `utf8` (uint8) the log10 probability of all its lines, and the words and line ends in them."""
        # A zero byte would end its word for KenLM; no word of a model holds either byte, so that both are unknown.
        data, results = utf8.tobytes().replace(b"\0", b"\1"), np.zeros((len(offsets) - 1, 2))
        for text, (begin, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
            for line in data[begin:end].split(b"\n"):
                words = line.split()
                if words:
                    # As bytes, whose white space is ASCII's, as for KenLM and the ARPA reader.
                    results[text] += self._model.score(line), len(words) + 1
        return results
