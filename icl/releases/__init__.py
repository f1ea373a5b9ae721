"""Release folders: names, weights, provenance, cards, fingerprints of the rows a release was tuned on."""
