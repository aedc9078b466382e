"""Text in, numbers out: detectors, quality, language and signatures. The last stop of every import arrow: knows no Beam."""
