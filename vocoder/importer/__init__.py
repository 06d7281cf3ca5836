"""Other people's checkpoints in, ours out: the only room that reads a pickle, and it runs none of its code.

```
a file ─► archive ─► machine ─► state ─► layout ─► config ─► model        report: what each of them found
          zip …      plain      flat     one       shape,
          .nemo      data       table    spelling  mel spec
```

    from vocoder.importer import import_checkpoint

    import_checkpoint("waveglow_256channels.pt").save("waveglow.safetensors", licence="BSD-3-Clause")

`machine` says why a pickle is harmless here, `layout` which spellings there are.
"""

from vocoder.importer.convert import Imported, import_checkpoint, report
from vocoder.importer.machine import Limits
from vocoder.importer.report import Report

__all__ = ["Imported", "Limits", "Report", "import_checkpoint", "report"]
