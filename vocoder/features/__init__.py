"""What a mel spectrogram is: `MelSpec` says it, `LogMel` computes it, `MelSpec.segment` cuts it, and
`MelSpec.convert` makes ours of what others write.

Read in this order: `spec` (the numbers, and where the frames lie), `transform` (audio to mel), `conventions`
(others' scales and frames), `suspicion` (which of those a mel looks like).
"""

from vocoder.features.conventions import CONVENTIONS
from vocoder.features.framing import HifiGan
from vocoder.features.scales import (
    Convention,
    Decibels,
    Logarithm,
    MeanVariance,
    Normalised,
)
from vocoder.features.spec import MelSpec
from vocoder.features.suspicion import suspect, warn_if_suspect
from vocoder.features.transform import LogMel, mel_filters

__all__ = [
    "CONVENTIONS",
    "Convention",
    "Decibels",
    "HifiGan",
    "LogMel",
    "Logarithm",
    "MeanVariance",
    "MelSpec",
    "Normalised",
    "mel_filters",
    "suspect",
    "warn_if_suspect",
]
