"""Makes a COG in windows: each is encoded by itself, in any order, and assembled at the end.

No step holds more than one window in memory, and the bytes of the COG depend on the plan and the
source only, not on the order of the windows or on how often one is encoded.
"""
