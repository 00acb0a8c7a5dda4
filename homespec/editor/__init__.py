"""Editor support for specs as they are written: completion, hover, definitions, renames, fixes.

Functions take offsets in a text and return plain data. Only `server.py` speaks the Language Server
Protocol and imports pygls.
"""
