"""Crash simulator: every state a crash can leave on a disk, and the real kernel's answer to it.

`disk` is a file system in memory behind the kernel's own seam. `images` lists the states that may
survive a crash. `plan` and `world` drive the kernel's writers, readers and files. `check` recovers
an image and judges it; `ending` brings a whole world to its end. `tally` and `campaign` count,
`recipe` replays and shrinks. `python -m tools.crash_sim`.
"""
