"""A checkpoint: weights in safetensors, and a header that says what they are. Loading one executes no code.

```
8 bytes │ safetensors' own JSON                                                    │ tensors
length  │ {"__metadata__": {"flow-vocoder": "<our header>"}, "encoder…": {…}, …}   │ …
                                             └ canonical JSON with a digest of itself, and one of the tensors
```

A file that was cut, altered in a single bit, pickled, or made by other software is a `CheckpointError` that
says what is the matter. The digests find damage; they are no protection against forgery.
"""

from vocoder.checkpoint.file import inspect, load, read_header, save
from vocoder.checkpoint.header import ARCHITECTURES, FORMAT, Header

__all__ = ["ARCHITECTURES", "FORMAT", "Header", "inspect", "load", "read_header", "save"]
