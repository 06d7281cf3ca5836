"""A counter with a bell: HTTP on one side, the front door of `vocoder` on the other, no tensor mathematics.

Read in this order: `app` (the only wiring), `routes/vocode` (what one request does), `wire` (a mel in),
`queue` and `engine` (the thread that owns the model, and what waits for it), `failures` (exception → status,
one table), `run` (start and orderly end).
"""
