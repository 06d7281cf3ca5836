"""Training of acoustic models, from text and pitch to mel."""
