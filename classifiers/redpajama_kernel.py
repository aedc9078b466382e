"""The two passes of `classifiers.redpajama`: over the characters of a text, and over its words."""

import numpy as np
from numba import njit

SPACE, WORD, PUNCTUATION, UPPER, LOWER, ALPHA, SENTENCE_END, TERMINAL, BULLET = (1 << bit for bit in range(9))
"""Classes of code points: white space, `\\w`, ASCII punctuation, upper case, lower or title case, ASCII letter, `.!?`, terminal punctuation of a line, bullet."""
LONE = 1 << 9
"""What becomes one character and is no numeral: nearly all."""
CLASSES, LENGTH_SHIFT, NUMERIC_SHIFT, FIRST_SHIFT = 0x1FF, 12, 16, 20
"""Where the classes stand in what is known of a code point, and of its lower-cased, decomposed form the length, the numerals, and the first character if ASCII."""
LOREM_IPSUM = np.frombuffer(b"lorem ipsum", np.uint8)
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Of the hash of a word, a polynomial in the hashes of its characters modulo 2**64."""


@njit(cache=True, nogil=True)
def measure_batch(utf8, offsets, forms, hashes, stop_words, javascript, table, most, signals, ngrams):
    """Fills a row of `signals` and of `ngrams` for each text; `table` holds zeros, and `most` is the largest number of words that a text may have."""
    words, chars, keys = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.uint64)
    counts, grams, places = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.int32)
    for text in range(len(offsets) - 1):
        used = measure_text(
            utf8, offsets[text], offsets[text + 1], forms, hashes, stop_words, javascript, table, keys, words, chars, counts, signals[text]
        )
        measure_ngrams(words[:used], chars, table, keys, counts, places, grams, ngrams[text])


@njit(cache=True, nogil=True)
def measure_text(utf8, begin, end, forms, hashes, stop_words, javascript, table, keys, words, chars, counts, signals):
    """Fills `signals` (`redpajama.TEXT_COLUMNS`) of the text at `utf8[begin:end]`; returns the number of normalised words.

    Of these, `words` gets the number of each (equal words have one, from 0 by first occurrence), `chars` its length, `counts` how often each number occurs.
    `table` must hold zeros, and does so again afterwards.
    """
    stop_mask = np.uint64(len(stop_words) - 1)
    num_chars, sentences, symbols, curly, lorem, lorem_state, dots = 0, 0, 0, 0, 0, 0, 0
    raw_words, no_alpha, all_caps, stops, in_token = 0, 0, 0, 0, 0
    token_alpha, token_upper, token_lower, token_hash, segment_has_word = False, False, False, np.uint64(0), False
    num_words, different, normal_chars, word_hash, word_chars, javascripts = 0, 0, 0, np.uint64(0), 0, 0
    lines, ellipsis_lines, terminal_lines, bullet_lines, upper_share, numeric_share = 0, 0, 0, 0, 0.0, 0.0
    line_chars, line_upper, line_numeric, line_normal, line_words, line_dots = 0, 0, 0, 0, 0, 0
    last_mark, first_mark, last_point, previous = 0, -1, 0, 0
    size = 16
    while size < (end - begin) + 2:
        size *= 2
    size = min(size, len(table))
    mask = np.uint64(size - 1)
    at = begin
    while True:
        # After the last character one line break more ends word, token and line, and counts for nothing itself.
        over = at >= end
        point, form, value = 0x0A, SPACE, np.uint64(0)
        if not over:
            point = np.int64(utf8[at])
            step, following = 1, end - at - 1
            if point >= 0x80:
                first = point
                point = 0xFFFD
                if 0xC2 <= first < 0xE0 and following >= 1:
                    point, step = (first & 0x1F) << 6 | np.int64(utf8[at + 1]) & 0x3F, 2
                elif 0xE0 <= first < 0xF0 and following >= 2:
                    point, step = (first & 0x0F) << 12 | (np.int64(utf8[at + 1]) & 0x3F) << 6 | np.int64(utf8[at + 2]) & 0x3F, 3
                elif 0xF0 <= first < 0xF5 and following >= 3:
                    point = (first & 0x07) << 18 | (np.int64(utf8[at + 1]) & 0x3F) << 12
                    point, step = point | (np.int64(utf8[at + 2]) & 0x3F) << 6 | np.int64(utf8[at + 3]) & 0x3F, 4
            at += step
            num_chars += 1
            line_chars += 1
            if point < len(forms):
                form, value = np.int64(forms[point]), hashes[point]
            else:
                form, value = 1 << LENGTH_SHIFT, np.uint64(point) * MULTIPLIER
        mark = form & CLASSES
        # Raw tokens, as `\w+|[^\w\s]+` has them.
        kind = 1 if mark & WORD else (0 if mark & SPACE else 2)
        if kind != in_token:
            if in_token:
                raw_words += 1
                no_alpha += 0 if token_alpha else 1
                all_caps += 1 if token_upper and not token_lower else 0
                if in_token == 1 and token_alpha:
                    stop = (token_hash >> np.uint64(32)) & stop_mask
                    while stop_words[stop] != 0 and stop_words[stop] != token_hash:
                        stop = (stop + np.uint64(1)) & stop_mask
                    stops += 1 if stop_words[stop] != 0 else 0
            in_token, token_alpha, token_upper, token_lower, token_hash = kind, False, False, False, np.uint64(0)
        if kind:
            token_alpha |= mark & ALPHA != 0
            token_upper |= mark & UPPER != 0
            token_lower |= mark & LOWER != 0
            # A capital has the hash of its small letter, and no stop word has one: shifted, they differ.
            token_hash = token_hash * MULTIPLIER + (value if not mark & UPPER else value + np.uint64(1))
        # Normalised words: between white space, without ASCII punctuation.
        if kind == 0:
            if word_chars > 0:
                slot = word_hash & mask
                while table[slot] != 0 and keys[table[slot] - 1] != word_hash:
                    slot = (slot + np.uint64(1)) & mask
                if table[slot] == 0:
                    keys[different], counts[different] = word_hash, 0
                    different += 1
                    table[slot] = different
                counts[table[slot] - 1] += 1
                words[num_words], chars[num_words] = table[slot] - 1, word_chars
                javascripts += 1 if word_hash == javascript else 0
                num_words += 1
                line_words += 1
                normal_chars += word_chars
                line_normal += word_chars
                word_chars, word_hash = 0, np.uint64(0)
        elif not mark & PUNCTUATION:
            if word_chars == 0 and num_words > 0 and lorem_state > 0:
                lorem_state = lorem_state + 1 if LOREM_IPSUM[lorem_state] == 0x20 else 0
            first_char = form >> FIRST_SHIFT
            if lorem_state == 0:
                lorem_state = 1 if first_char == 0x6C else 0
            elif first_char == LOREM_IPSUM[lorem_state]:
                lorem_state += 1
                if lorem_state == len(LOREM_IPSUM):
                    lorem += 1
                    lorem_state = 0
            else:
                lorem_state = 1 if first_char == 0x6C else 0
            if form & LONE:
                word_hash = word_hash * MULTIPLIER + value
                word_chars += 1
            else:
                length = (form >> LENGTH_SHIFT) & 0xF
                lorem_state = 0 if length > 1 else lorem_state
                for _ in range(length):
                    word_hash *= MULTIPLIER
                word_hash += value
                word_chars += length
                line_numeric += (form >> NUMERIC_SHIFT) & 0xF
        if mark & SENTENCE_END:
            sentences += 1 if segment_has_word else 0
            segment_has_word = False
        elif mark & WORD:
            segment_has_word = True
        if point == 0x2E:
            dots += 1
            symbols += 1 if dots % 3 == 0 else 0
            line_dots = line_dots + 1 if previous == 0x2E else 1
        else:
            dots = 0
            symbols += 1 if point == 0x23 or point == 0x2026 else 0
            curly += 1 if point == 0x7B or point == 0x7D else 0
            line_dots = line_dots if kind == 0 else 0
        previous = point
        if kind:
            last_mark, last_point = mark, point
            first_mark = mark if first_mark < 0 else first_mark
            line_upper += 1 if mark & UPPER else 0
        if point == 0x0A and line_chars > 0:
            lines += 1
            ellipsis_lines += 1 if line_dots >= 3 or last_point == 0x2026 else 0
            terminal_lines += 1 if last_mark & TERMINAL else 0
            bullet_lines += 1 if first_mark > 0 and first_mark & BULLET else 0
            upper_share += line_upper / line_chars
            normal = line_normal + max(line_words - 1, 0)
            numeric_share += line_numeric / normal if normal > 0 else 0.0
            line_chars, line_upper, line_numeric, line_normal, line_words, line_dots = 0, 0, 0, 0, 0, 0
            last_mark, first_mark, last_point = 0, -1, 0
        if over:
            break
    sentences += 1 if segment_has_word else 0
    table[:size] = 0
    entropy = 0.0
    for number in range(different):
        share = counts[number] / num_words
        entropy -= share * np.log(share)
    normal = normal_chars + max(num_words - 1, 0)
    signals[0], signals[1], signals[2], signals[3] = num_chars, lines, num_words, sentences
    signals[4] = normal_chars / num_words if num_words else np.nan
    signals[5] = symbols / raw_words if raw_words else np.nan
    signals[6] = ellipsis_lines / lines if lines else np.nan
    signals[7] = no_alpha / raw_words if raw_words else np.nan
    signals[8] = different / num_words if num_words else np.nan
    signals[9] = entropy if num_words else np.nan
    signals[10] = all_caps / raw_words if raw_words else np.nan
    signals[11] = curly / num_chars if num_chars else 0.0
    signals[12] = lorem / normal if normal else 0.0
    signals[13] = stops / raw_words if num_words else 0.0
    signals[14] = terminal_lines / lines if lines else np.nan
    signals[15] = javascripts
    signals[16] = num_words / lines if lines else np.nan
    signals[17] = numeric_share / lines if lines else np.nan
    signals[18] = bullet_lines / lines if lines else np.nan
    signals[19] = upper_share / lines if lines else np.nan
    return num_words


@njit(cache=True, nogil=True)
def measure_ngrams(words, chars, table, keys, counts, places, grams, signals):
    """Fills `signals` (`redpajama.NGRAM_COLUMNS`) of a text of `words` (numbers from 0) of `chars` characters; `counts` is how often each number occurs.

    An n-gram occurs twice only where its first and its last n - 1 words do: each length looks only at the places that the one before left, few in most
    texts. Exact: an n-gram is known by the number of its first n - 1 words and that of its last. Uses up `keys`, `counts`, `places` and `grams`; `table` as in
    `measure_text`.
    """
    signals[:] = 0.0
    total, used = 0, 0
    for place in range(len(words)):
        total += chars[place]
        if counts[words[place]] > 1:
            places[used], grams[used] = place, words[place]
            used += 1
    for size in range(2, 11):
        candidates = 0
        for k in range(used - 1):
            candidates += 1 if places[k + 1] == places[k] + 1 else 0
        if candidates < 2:
            break
        slots = 16
        while slots < 2 * candidates:
            slots *= 2
        mask, different, kept = np.uint64(slots - 1), 0, 0
        for k in range(used - 1):
            if places[k + 1] != places[k] + 1:
                continue
            key = np.uint64(grams[k]) << np.uint64(32) | np.uint64(words[places[k] + size - 1])
            slot = ((key * MULTIPLIER) >> np.uint64(20)) & mask
            while table[slot] != 0 and keys[table[slot] - 1] != key:
                slot = (slot + np.uint64(1)) & mask
            if table[slot] == 0:
                keys[different], counts[different] = key, 0
                different += 1
                table[slot] = different
            counts[table[slot] - 1] += 1
            places[kept], grams[kept] = places[k], table[slot] - 1
            kept += 1
        table[:slots] = 0
        best, best_place, covered, until, used = -1, 0, 0, 0, 0
        for k in range(kept):
            if counts[grams[k]] < 2:
                continue
            place = places[k]
            # Numbers stand in the order of first occurrence: of equally frequent ones the first is taken.
            if best < 0 or counts[grams[k]] > counts[best]:
                best, best_place = grams[k], place
            for inner in range(max(place, until), place + size):
                covered += chars[inner]
            until = place + size
            places[used], grams[used] = place, grams[k]
            used += 1
        if best >= 0:
            if size <= 4:
                length = 0
                for inner in range(best_place, best_place + size):
                    length += chars[inner]
                covered = length * counts[best]
            signals[size - 2] = covered / total
