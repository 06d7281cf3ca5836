"""From text to symbols of speech: what a front end hands over, and the front ends that make it of text."""
