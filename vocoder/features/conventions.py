"""How others write the mel of the same audio: the ways that have a name.

x is the mel magnitude W |STFT(audio)| of one band in one frame. Ours is ln(max(x, floor)), frame k centred on
sample k·hop. `MelSpec.convert` and `vocoder vocode --convention` understand these names:

| name          | what is written                                         | whose                      |
|---------------|---------------------------------------------------------|----------------------------|
| `ln`          | ln(x)                                                   | Tacotron 2, WaveGlow, ours |
| `log10`       | log10(max(x, 1e-10))                                    | ESPnet, ParallelWaveGAN    |
| `db`          | d = 20·log10(max(x, 1e-5))                              | librosa.amplitude_to_db    |
| `symmetric`   | 8·(d - 20 + 100)/100 - 4, cut to [-4, 4]                | Rayhane-mamah/Tacotron-2   |
| `positive`    | 4·(d - 20 + 100)/100, cut to [0, 4]                     | its symmetric_mels=False   |
| `unit`        | (d + 100)/100, cut to [0, 1]                            | keithito/tacotron          |
| `hifigan`     | ln(max(x, 1e-5)), frame k centred on sample (k + ½)·hop | HiFi-GAN, BigVGAN          |
| `ln_power`    | ln(max(W |STFT|², 1e-10))                               | torchaudio with power=2    |
| `log10_power` | log10 of the same                                       | the same                   |
| `db_power`    | 10·log10 of the same                                    | librosa.power_to_db        |

With other numbers: `Logarithm`, `Decibels`, `Normalised`; standardised, (y - mean)/std of any of them:
`MeanVariance`.

All but the last four are exact where nothing was cut. Those of powers do not know how the power of a band is
spread over its bins, and `hifigan` has to read between frames; how far off that is stands with each. None
undoes a pre-emphasis, and none makes another rate, window, hop or filterbank: Vocos, say, has HTK's filters.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vocoder.errors import InvalidConfig
from vocoder.features.framing import HifiGan
from vocoder.features.scales import Convention, Decibels, Logarithm, Normalised

__all__ = ["CONVENTIONS", "named"]

CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        "ln": Logarithm(),
        "log10": Logarithm(base=10.0),
        "db": Decibels(),
        "symmetric": Normalised(),
        "positive": Normalised(low=0.0),
        "unit": Normalised(low=0.0, high=1.0, reference=0.0),
        "hifigan": HifiGan(),
        "ln_power": Logarithm(power=2),
        "log10_power": Logarithm(base=10.0, power=2),
        "db_power": Decibels(power=2),
    }
)
"""Those that need no numbers of their own, by name."""


def named(convention: Convention | str) -> Convention:
    """The convention itself, or the one of that name; `InvalidConfig` if there is none.

    >>> named("db")
    Decibels(reference=0.0, floor=1e-05, power=1)
    """
    if isinstance(convention, Convention):
        return convention
    if convention not in CONVENTIONS:
        rule = f"one of {', '.join(CONVENTIONS)}; a standardised mel needs its statistics, `MeanVariance`"
        raise InvalidConfig(f"convention (={convention!r}) must be {rule}")
    return CONVENTIONS[convention]
