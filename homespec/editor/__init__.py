"""What editors ask about a spec as it is written: completion, hover, definitions, renames, fixes.

Offsets in a text go in, plain data comes out; `server.py` alone speaks the Language Server
Protocol and imports pygls.
"""
