"""Blobs (inputs, bundles, outputs): bytes by their SHA-256, in a directory or an S3-compatible store.

The database says which blobs there are, which object holds each, and who needs it; the store only holds objects.
An object is written once under a name of its own and never again, so nothing that is visible is ever half
written, and whoever deletes an object that the database has let go can hit nobody else's.
"""
