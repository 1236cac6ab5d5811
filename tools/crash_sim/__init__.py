"""Every state a crash can leave on a disk, and what the real kernel makes of it.

`disk` is a file system in memory behind the kernel's own seam, `images` what of it survives a
crash, `program` and `worlds` drive the kernel's writers, readers and files, `check` recovers an
image and judges it, `campaign` counts, `recipe` replays and shrinks. `python -m tools.crash_sim`.
"""
