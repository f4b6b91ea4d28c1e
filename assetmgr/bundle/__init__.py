"""Bundles: assets on a stick, in a registry, on a share, as an OCI image layout that other tools carry too."""
