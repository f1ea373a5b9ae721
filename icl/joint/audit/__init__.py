"""Whether synthetic rows can stand for real ones, and what they give away."""
